#!/usr/bin/env bash
# Generates the Go package a2apb, messages and client, from ../../proto/a2a.proto. The plugins of protoc are tools of
# go.mod; protoc itself is $PROTOC, a command that may have arguments, else the one in PATH.
set -euo pipefail
cd "$(dirname "$0")"

read -ra protoc <<<"${PROTOC:-protoc}"
if ! command -v "${protoc[0]}" >/dev/null; then
  echo "Error: there is no '${protoc[0]}': install the Protocol Buffers compiler, https://protobuf.dev/installation," \
    "or run 'make proto-go' at the root of the repository, which brings its own" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go run ./imports >"$work/imports.binpb"

go_plugin=$(go tool -n protoc-gen-go)
grpc_plugin=$(go tool -n protoc-gen-go-grpc)
module=$(go list -m)
package="a2a.proto=$module/a2apb;a2apb"
"${protoc[@]}" -I ../../proto --descriptor_set_in="$work/imports.binpb" \
  --plugin=protoc-gen-go="$go_plugin" \
  --plugin=protoc-gen-go-grpc="$grpc_plugin" \
  --go_out=. --go_opt=module="$module" --go_opt="M$package" \
  --go-grpc_out=. --go-grpc_opt=module="$module" --go-grpc_opt="M$package" \
  a2a.proto

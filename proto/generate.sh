#!/usr/bin/env bash
# Generates generated/a2a_grpc_pb from proto/a2a.proto and proto/sentinel.proto. Called by `make proto`, with the interpreter of the environment
# that holds the pinned generator.
#
# Two protoc steps: the first keeps the JSON names in a descriptor set, the second embeds that descriptor, so that it is
# byte-identical to the one of the other A2A SDKs. protoc's gRPC plugin imports `a2a_pb2` as a top-level module; the
# one line of each file that does so is made relative here.
set -euo pipefail

python=$1
root=$(cd "$(dirname "$0")/.." && pwd)
out="$root/generated/a2a_grpc_pb"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

include=$("$python" -c 'import google.api, grpc_tools, os
print(os.path.abspath(os.path.join(list(google.api.__path__)[0], "..", "..")))
print(os.path.join(os.path.dirname(grpc_tools.__file__), "_proto"))')
googleapis=$(sed -n 1p <<<"$include")
builtin=$(sed -n 2p <<<"$include")

protoc() { (cd "$work" && "$python" -m grpc_tools.protoc "$@"); }
mkdir -p "$out"
for name in a2a sentinel; do
  protoc -I"$root/proto" -I"$googleapis" -I"$builtin" --include_imports --include_source_info -o all.binpb "$name.proto"
  protoc --descriptor_set_in=all.binpb --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" "$name.proto"

  stub="$out/${name}_pb2_grpc.py"
  if [ "$(grep -c "^import ${name}_pb2 as ${name}__pb2$" "$stub")" != 1 ]; then
    echo "proto/generate.sh: expected exactly one 'import ${name}_pb2 as ${name}__pb2' in $stub" >&2
    exit 1
  fi
  sed -i.orig "s/^import ${name}_pb2 as ${name}__pb2$/from . import ${name}_pb2 as ${name}__pb2/" "$stub"
  rm "$stub.orig"
done

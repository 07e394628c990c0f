package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"example.com/a2a-cancellable/a2apb"
)

// grpcInterface finds out where an agent is: it gives the first interface of its card that speaks A2A 1.0 over gRPC.
func grpcInterface(ctx context.Context, site string) (*a2apb.AgentInterface, error) {
	address := strings.TrimRight(site, "/") + "/.well-known/agent-card.json"
	body, err := fetch(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch %s: %w", address, err)
	}
	card := &a2apb.AgentCard{}
	// Agents may say more than this version of the protocol knows.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, card); err != nil {
		return nil, fmt.Errorf("%s is not an agent card: %w", address, err)
	}
	var kinds []string
	for _, offered := range card.GetSupportedInterfaces() {
		kind := offered.GetProtocolBinding() + " " + offered.GetProtocolVersion()
		if kind == "GRPC 1.0" {
			return offered, nil
		}
		kinds = append(kinds, kind)
	}
	others := cmp.Or(strings.Join(kinds, ", "), "none at all")
	return nil, fmt.Errorf("%s names no interface GRPC 1.0, but %s", address, others)
}

func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL, which the caller names
		}
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("HTTP " + response.Status)
	}
	return io.ReadAll(response.Body)
}

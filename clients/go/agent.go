package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"example.com/a2a-cancellable/a2apb"
)

// answerWithin is how long a call with one answer may take. A stream lasts as long as its task.
const answerWithin = 10 * time.Second

// agent is the generated client, on a connection of its own, with the tenant that every request has to name.
type agent struct {
	a2apb.A2AServiceClient
	tenant     string
	connection *grpc.ClientConn
}

// connect makes a connection that opens with the first call. All calls share it, side by side.
func connect(at *a2apb.AgentInterface) (*agent, error) {
	secure, err := credentialsFor(at.GetUrl())
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(at.GetUrl(), grpc.WithTransportCredentials(secure),
		grpc.WithUnaryInterceptor(toCall), grpc.WithStreamInterceptor(toStream))
	if err != nil {
		return nil, fmt.Errorf("the card's gRPC address %q: %w", at.GetUrl(), err)
	}
	return &agent{a2apb.NewA2AServiceClient(connection), at.GetTenant(), connection}, nil
}

func (a *agent) close() {
	a.connection.Close()
}

// credentialsFor gives plaintext within this machine, TLS to any other.
func credentialsFor(address string) (credentials.TransportCredentials, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the card's gRPC address %q is not HOST:PORT", address)
	}
	if host == "localhost" || net.ParseIP(host).IsLoopback() {
		return insecure.NewCredentials(), nil
	}
	return credentials.NewTLS(nil), nil
}

// toCall is the interceptor of calls with one answer. Like toStream, it says in the metadata which version of A2A is
// spoken.
func toCall(ctx context.Context, method string, request, reply any, on *grpc.ClientConn, call grpc.UnaryInvoker,
	options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(versioned(ctx), answerWithin)
	defer cancel()
	return call(ctx, method, request, reply, on, options...)
}

// toStream is the interceptor of streams.
func toStream(ctx context.Context, description *grpc.StreamDesc, on *grpc.ClientConn, method string, open grpc.Streamer,
	options ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(versioned(ctx), description, on, method, options...)
}

func versioned(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "a2a-version", "1.0")
}

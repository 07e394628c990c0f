// Command server is an agent made of the official Go SDK alone: it plays the scripts of its messages.
//
// It prints where it is as one JSON line; ../../../README.md says what the line holds and what a script is.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/a2aproject/a2a-go/v2/a2a"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/a2asrv/taskstore"
	"google.golang.org/grpc"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
	<-stop
}

// serve begins to serve, and says where.
func serve() error {
	calls, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	card := cardOf(calls.Addr().String())

	// The SDK's store lists the tasks of a user, and refuses to list any without one: here all callers are one.
	store := taskstore.NewInMemory(&taskstore.InMemoryStoreConfig{
		Authenticator: func(context.Context) (string, error) { return "anyone", nil },
	})
	checks := a2asrv.WithCapabilityChecks(&card.Capabilities)
	handler := a2asrv.NewHandler(newScripted(), checks, a2asrv.WithTaskStore(store))
	server := grpc.NewServer()
	a2agrpc.NewHandler(handler).RegisterWith(server)
	go func() { end(server.Serve(calls)) }()

	paths := http.NewServeMux()
	paths.Handle(a2asrv.WellKnownAgentCardPath, a2asrv.NewStaticAgentCardHandler(card))
	go func() { end(http.Serve(web, paths)) }()

	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"event": "ready",
		"grpc":  calls.Addr().String(),
		"http":  "http://" + web.Addr().String(),
		"sdk":   sdk(),
	})
}

// end ends the program: a server that has stopped serving has failed.
func end(err error) {
	fmt.Fprintln(os.Stderr, "Error:", err)
	os.Exit(1)
}

func cardOf(address string) *a2a.AgentCard {
	return &a2a.AgentCard{
		Name:                "Peer",
		Description:         "Plays scripts.",
		Version:             "1.0.0",
		SupportedInterfaces: []*a2a.AgentInterface{a2a.NewAgentInterface(address, a2a.TransportProtocolGRPC)},
		Capabilities:        a2a.AgentCapabilities{Streaming: true},
		DefaultInputModes:   []string{"text/plain", "application/json"},
		DefaultOutputModes:  []string{"text/plain", "application/json"},
		Skills: []a2a.AgentSkill{
			{ID: "play", Name: "Play", Description: "Plays a script, or echoes.", Tags: []string{"play"}},
		},
	}
}

// sdk gives the name and the version of the SDK that this program is built with.
func sdk() string {
	const name = "a2a-go"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if strings.Contains(module.Path, "/"+name+"/") {
				return name + " " + strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return name
}

// Command client is a client made of the official Go SDK alone: it plays scenarios against an agent and prints what it
// saw.
//
//	client CARD_URL SCENARIO ...
//
// ../../../README.md says what each scenario does and what its line holds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const scenarioWithin = 30 * time.Second

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: client CARD_URL SCENARIO ...")
	}
	card, err := agentcard.DefaultResolver.Resolve(ctx, args[0])
	if err != nil {
		return err
	}
	plaintext := a2agrpc.WithGRPCTransport(grpc.WithTransportCredentials(insecure.NewCredentials()))
	client, err := a2aclient.NewFromCard(ctx, card, plaintext)
	if err != nil {
		return err
	}
	defer client.Destroy()
	for _, name := range args[1:] {
		if err := play(ctx, &peer{client, card}, name); err != nil {
			return fmt.Errorf("scenario %s: %w", name, err)
		}
	}
	return nil
}

func play(ctx context.Context, with *peer, name string) error {
	scenario, there := scenarios[name]
	if !there {
		return errors.New("no such scenario")
	}
	// Not a deadline of the context: calls would tell the server of it.
	late := time.AfterFunc(scenarioWithin, func() {
		fmt.Fprintf(os.Stderr, "Error: scenario %s: takes longer than %s\n", name, scenarioWithin)
		os.Exit(1)
	})
	defer late.Stop()
	seen, err := scenario(ctx, with)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"scenario": name, "seen": seen})
}

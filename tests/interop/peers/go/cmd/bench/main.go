// Command bench is the official Go SDK's server as a contender of benchmarks/bench.py.
//
// It prints its address as a JSON line. It answers each line on standard input with what it has used, and ends with
// standard input. benchmarks/contenders.py says what the texts of messages ask for; this agent knows "message",
// "task" and "stream N".
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/a2aproject/a2a-go/v2/a2a"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/a2asrv/taskstore"
	"google.golang.org/grpc"
)

var chunk = strings.Repeat("x", 20)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// run serves until standard input ends.
func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	store := taskstore.NewInMemory(&taskstore.InMemoryStoreConfig{
		Authenticator: func(context.Context) (string, error) { return "anyone", nil },
	})
	handler := a2asrv.NewHandler(executor{}, a2asrv.WithTaskStore(store))
	server := grpc.NewServer(grpc.MaxConcurrentStreams(20_000))
	a2agrpc.NewHandler(handler).RegisterWith(server)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()

	asked := make(chan bool)
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			asked <- true
		}
		close(asked)
	}()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"address": listener.Addr().String()}); err != nil {
		return err
	}
	for {
		select {
		case err := <-failed:
			return err
		case _, open := <-asked:
			if !open {
				return nil
			}
			used, err := usage()
			if err == nil {
				err = out.Encode(used)
			}
			if err != nil {
				return err
			}
		}
	}
}

// usage returns the processor time and the memory that the process has used.
func usage() (map[string]any, error) {
	var spent syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &spent); err != nil {
		return nil, err
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return nil, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		return nil, err
	}
	seconds := float64(spent.Utime.Nano()+spent.Stime.Nano()) / 1e9
	return map[string]any{"cpu_s": seconds, "rss": pages * os.Getpagesize(), "goroutines": runtime.NumGoroutine()}, nil
}

// executor is the SDK's AgentExecutor.
type executor struct{}

var _ a2asrv.AgentExecutor = executor{}

func (executor) Execute(_ context.Context, call *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		words := strings.Fields(call.Message.Parts[0].Text())
		count := 1
		switch words[0] {
		case "message":
			message := a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("hello"))
			message.ContextID = call.ContextID
			yield(message, nil)
			return
		case "task":
		case "stream":
			number, err := strconv.Atoi(words[1])
			if err != nil {
				yield(nil, fmt.Errorf("%w: stream: %w", a2a.ErrInvalidParams, err))
				return
			}
			count = number
		default:
			yield(nil, fmt.Errorf("%w: %q is not known here", a2a.ErrInvalidParams, words[0]))
			return
		}
		if !yield(a2a.NewSubmittedTask(call, call.Message), nil) {
			return
		}
		if !yield(a2a.NewStatusUpdateEvent(call, a2a.TaskStateWorking, nil), nil) {
			return
		}
		for place := range count {
			update := a2a.NewArtifactUpdateEvent(call, "a", a2a.NewTextPart(chunk))
			update.Append = place > 0
			if !yield(update, nil) {
				return
			}
		}
		yield(a2a.NewStatusUpdateEvent(call, a2a.TaskStateCompleted, nil), nil)
	}
}

func (executor) Cancel(_ context.Context, call *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(call, a2a.TaskStateCanceled, nil), nil)
	}
}

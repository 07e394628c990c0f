// Command a2a-cancellable starts a long task of an A2A agent, follows its progress and cancels it half way, with
// nothing but gRPC stubs. Then it reads the details of an error, and leaves the stream of a second task.
package main

//go:generate bash generate.sh

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"
)

const help = `Usage: a2a-cancellable [flags]

Starts a long task, follows its progress and cancels it half way; then asks for a task that is not there, and leaves
the stream of a second task. servers/cancellable.py has such tasks.

Flags:
  --card URL              where the agent's card is; default: http://127.0.0.1:8080
  --cancel-at PROGRESS    0 to 1; default: 0.5
  --steps COUNT           how many steps the task has; default: 10
  --step-seconds SECONDS  how long each takes; default: 0.5
  --help                  show this
`

type options struct {
	card     string
	cancelAt float64
	pace     pace
}

func main() {
	os.Exit(run(os.Args[1:]))
}

// run gives the exit code.
func run(args []string) int {
	chosen, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(help)
		return 0
	}
	if err != nil {
		complain(err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err = demonstrate(ctx, chosen)
	if ctx.Err() != nil { // Ctrl-C, which ends every call with an error
		return 130
	}
	if err != nil {
		complain(err)
		return 1
	}
	return 0
}

func demonstrate(ctx context.Context, chosen options) error {
	found, err := grpcInterface(ctx, chosen.card)
	if err != nil {
		return err
	}
	a, err := connect(found)
	if err != nil {
		return err
	}
	defer a.close()
	if err := a.cancelAtProgress(ctx, chosen.pace, chosen.cancelAt); err != nil {
		return err
	}
	if err := a.showError(ctx); err != nil {
		return err
	}
	return a.leaveStream(ctx)
}

func parse(args []string) (options, error) {
	chosen := options{card: "http://127.0.0.1:8080", cancelAt: 0.5, pace: pace{steps: 10, stepSeconds: 0.5}}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // says everything twice
	flags.Func("card", "", func(text string) error {
		site, err := url.Parse(text)
		if err != nil || (site.Scheme != "http" && site.Scheme != "https") || site.Host == "" {
			return errors.New("not the URL of a web site")
		}
		chosen.card = text
		return nil
	})
	flags.Func("cancel-at", "", func(text string) (err error) {
		chosen.cancelAt, err = number(text, 0, 1)
		return err
	})
	flags.Func("steps", "", func(text string) (err error) {
		chosen.pace.steps, err = strconv.Atoi(text)
		if err != nil || chosen.pace.steps < 1 {
			return errors.New("not a whole number from 1 up")
		}
		return nil
	})
	flags.Func("step-seconds", "", func(text string) (err error) {
		chosen.pace.stepSeconds, err = number(text, 0, 3600)
		return err
	})
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("there is no argument %q to take", flags.Arg(0))
	}
	return chosen, err
}

func number(text string, least, most float64) (float64, error) {
	found, err := strconv.ParseFloat(text, 64)
	if err != nil || !(least <= found && found <= most) { // put so, it refuses NaN too
		return 0, fmt.Errorf("not a number from %g to %g", least, most)
	}
	return found, nil
}

// complain prints an error as one line.
func complain(err error) {
	text := err.Error()
	if failed, ok := status.FromError(err); ok {
		text = codeName(failed) + ": " + failed.Message()
	}
	fmt.Fprintln(os.Stderr, "Error:", strings.Join(strings.Fields(text), " "))
}

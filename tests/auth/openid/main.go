// Command openid is an OpenID provider for tests, made of the library github.com/zitadel/oidc.
//
//	openid [-listen 127.0.0.1:0] <commands
//
// The first line of standard input is a Config. Each further line is a Command, which the provider answers with one line
// of JSON. The provider ends when standard input ends, so that it does not outlive the test that started it.
//
// Grants: client credentials, device authorization (RFC 8628), refresh tokens. Access tokens are JWTs.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Config is what the provider knows.
type Config struct {
	// LifetimeS is the seconds for which an access token is valid.
	LifetimeS float64 `json:"lifetime_s"`
	// Algorithm signs tokens: RS256 or ES256.
	Algorithm string `json:"algorithm"`
	// DeviceLifetimeS is the seconds for which a user can confirm a device code.
	DeviceLifetimeS int       `json:"device_lifetime_s"`
	Clients         []*Client `json:"clients"`
	Users           []*User   `json:"users"`
}

// Command changes the provider while it runs.
type Command struct {
	// Do is one of:
	//   - rotate: make a new key and sign with it; the old keys stay in the key set.
	//   - retire: remove the old keys from the key set.
	//   - lifetime: let new access tokens be valid for Seconds.
	//   - forget: invalidate all refresh tokens.
	//   - counts: answer with the number of requests by path.
	Do      string  `json:"do"`
	Seconds float64 `json:"seconds"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// run serves until standard input ends.
func run(listen string) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		return errors.New("the first line of standard input must be the configuration")
	}
	config := Config{LifetimeS: 300, DeviceLifetimeS: 300, Algorithm: "RS256"}
	if err := json.Unmarshal(lines.Bytes(), &config); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	store, err := newStore(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	issuer := "http://" + listener.Addr().String()
	requests := &counter{seen: map[string]int{}}
	handler, err := newHandler(issuer, config, store)
	if err != nil {
		return err
	}
	go func() {
		fmt.Fprintln(os.Stderr, "Error:", http.Serve(listener, requests.counting(handler)))
		os.Exit(1)
	}()
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(map[string]string{"event": "ready", "issuer": issuer}); err != nil {
		return err
	}
	for lines.Scan() {
		var command Command
		if err := json.Unmarshal(lines.Bytes(), &command); err != nil {
			return fmt.Errorf("command: %w", err)
		}
		answer, err := obey(command, store, requests)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// obey carries out a command. It returns what the caller gets as an answer.
func obey(command Command, store *store, requests *counter) (any, error) {
	switch command.Do {
	case "rotate":
		return map[string]string{"done": command.Do}, store.rotate()
	case "retire":
		store.retire()
	case "lifetime":
		store.setLifetime(time.Duration(command.Seconds * float64(time.Second)))
	case "forget":
		store.forget()
	case "counts":
		return requests.snapshot(), nil
	default:
		return nil, fmt.Errorf("command %q is not known", command.Do)
	}
	return map[string]string{"done": command.Do}, nil
}

// newHandler makes the endpoints: those of the library, and the page on which a user confirms a device.
func newHandler(issuer string, config Config, store *store) (http.Handler, error) {
	settings := &op.Config{
		AuthMethodPost:        true,
		GrantTypeRefreshToken: true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime:     time.Duration(config.DeviceLifetimeS) * time.Second,
			PollInterval: time.Second,
			UserFormPath: "/device",
			UserCode:     op.UserCodeBase20,
		},
	}
	if _, err := io.ReadFull(rand.Reader, settings.CryptoKey[:]); err != nil {
		return nil, err
	}
	provider, err := op.NewProvider(settings, store, op.StaticIssuer(issuer), op.WithAllowInsecure())
	if err != nil {
		return nil, err
	}
	paths := http.NewServeMux()
	paths.Handle("/device", devicePage{store})
	paths.Handle("/", provider)
	return paths, nil
}

// counter counts requests by path.
type counter struct {
	lock sync.Mutex
	seen map[string]int
}

func (c *counter) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.lock.Lock()
		c.seen[r.URL.Path]++
		c.lock.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (c *counter) snapshot() map[string]int {
	c.lock.Lock()
	defer c.lock.Unlock()
	copied := make(map[string]int, len(c.seen))
	for path, count := range c.seen {
		copied[path] = count
	}
	return copied
}

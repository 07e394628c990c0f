package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// store keeps clients, users, keys, device codes and refresh tokens in memory. It implements op.Storage.
type store struct {
	notOffered

	lock      sync.Mutex
	algorithm jose.SignatureAlgorithm
	lifetime  time.Duration
	keys      []*key // the last one signs
	clients   map[string]*Client
	users     []*User
	devices   map[string]*device
	refreshes map[string]*refresh
}

// key is one key of the key set. It implements op.SigningKey.
type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func (k *key) ID() string                                  { return k.id }
func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k *key) Key() any                                    { return k.private }

// publicKey is what the key set shows of a key. It implements op.Key.
type publicKey struct{ *key }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.private.Public() }

// device is one device that a user may confirm.
type device struct {
	userCode string
	state    *op.DeviceAuthorizationState
}

// refresh is what a refresh token stands for. It implements op.RefreshTokenRequest.
type refresh struct {
	clientID, subject string
	audience, scopes  []string
	authTime          time.Time
}

func (r *refresh) GetAMR() []string                 { return nil }
func (r *refresh) GetAudience() []string            { return r.audience }
func (r *refresh) GetAuthTime() time.Time           { return r.authTime }
func (r *refresh) GetClientID() string              { return r.clientID }
func (r *refresh) GetScopes() []string              { return r.scopes }
func (r *refresh) GetSubject() string               { return r.subject }
func (r *refresh) SetCurrentScopes(scopes []string) { r.scopes = scopes }

var errNoClient = errors.New("there is no such client, or its secret is wrong")

func newStore(config Config) (*store, error) {
	made := &store{
		algorithm: jose.SignatureAlgorithm(config.Algorithm),
		lifetime:  time.Duration(config.LifetimeS * float64(time.Second)),
		clients:   map[string]*Client{},
		users:     config.Users,
		devices:   map[string]*device{},
		refreshes: map[string]*refresh{},
	}
	for _, client := range config.Clients {
		for _, grant := range client.Grants {
			if _, known := grants[grant]; !known {
				return nil, fmt.Errorf("client %q: grant %q is not known", client.ID, grant)
			}
		}
		made.clients[client.ID] = client
	}
	return made, made.rotate()
}

// rotate makes a new key, which signs from now on. The old keys stay in the key set.
func (s *store) rotate() error {
	made := &key{id: rand.Text(), algorithm: s.algorithm}
	var err error
	switch s.algorithm {
	case jose.RS256:
		made.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		made.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		err = fmt.Errorf("algorithm %q is not RS256 or ES256", s.algorithm)
	}
	if err != nil {
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.keys = append(s.keys, made)
	return nil
}

// retire removes all keys except the one that signs.
func (s *store) retire() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.keys = s.keys[len(s.keys)-1:]
}

func (s *store) setLifetime(lifetime time.Duration) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.lifetime = lifetime
}

// forget invalidates all refresh tokens.
func (s *store) forget() {
	s.lock.Lock()
	defer s.lock.Unlock()
	clear(s.refreshes)
}

// -- keys

func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.keys[len(s.keys)-1], nil
}

func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.algorithm}, nil
}

func (s *store) KeySet(context.Context) ([]op.Key, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	var shown []op.Key
	for _, key := range s.keys {
		shown = append(shown, publicKey{key})
	}
	return shown, nil
}

// -- clients and users

func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	client, found := s.clients[id]
	if !found {
		return nil, errNoClient
	}
	return client, nil
}

func (s *store) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if client, found := s.clients[id]; !found || client.Secret == "" || client.Secret != secret {
		return errNoClient
	}
	return nil
}

func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.clients[id], nil
}

func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	client := s.clients[id]
	return &oidc.JWTTokenRequest{Subject: id, Audience: client.Audience, Scopes: client.allowed(scopes)}, nil
}

func (s *store) login(name, password string) (*User, error) {
	for _, user := range s.users {
		if user.Name == name && user.Password == password {
			return user, nil
		}
	}
	return nil, errors.New("the name or the password is wrong")
}

// -- devices

func (s *store) StoreDeviceAuthorization(
	_ context.Context, clientID, deviceCode, userCode string, expires time.Time, scopes []string,
) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	client := s.clients[clientID]
	s.devices[deviceCode] = &device{userCode, &op.DeviceAuthorizationState{
		ClientID: clientID,
		Audience: slices.Clone(client.Audience),
		Scopes:   client.allowed(scopes),
		Expires:  expires,
	}}
	return nil
}

func (s *store) GetDeviceAuthorizatonState(
	_ context.Context, clientID, deviceCode string,
) (*op.DeviceAuthorizationState, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	found, known := s.devices[deviceCode]
	if !known || found.state.ClientID != clientID {
		return nil, errors.New("there is no such device code")
	}
	state := *found.state
	if state.Done || state.Denied { // a code is good for one token
		delete(s.devices, deviceCode)
	}
	return &state, nil
}

// decideDevice allows or denies the device with a code that the user has typed.
func (s *store) decideDevice(userCode, subject string, allow bool) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, found := range s.devices {
		if strings.EqualFold(found.userCode, userCode) {
			found.state.Subject, found.state.Done, found.state.Denied = subject, allow, !allow
			found.state.AuthTime = time.Now()
			return nil
		}
	}
	return errors.New("there is no such code")
}

// -- tokens

func (s *store) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return rand.Text(), time.Now().Add(s.lifetime), nil
}

// CreateAccessAndRefreshTokens makes the ids of two tokens. A refresh token that was used is not valid any more.
func (s *store) CreateAccessAndRefreshTokens(
	ctx context.Context, request op.TokenRequest, used string,
) (string, string, time.Time, error) {
	granted, isGrant := request.(interface {
		GetClientID() string
		GetAuthTime() time.Time
	})
	if !isGrant {
		return "", "", time.Time{}, fmt.Errorf("a %T has no refresh token", request)
	}
	id, expires, err := s.CreateAccessToken(ctx, request)
	if err != nil {
		return "", "", time.Time{}, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if _, valid := s.refreshes[used]; used != "" && !valid {
		return "", "", time.Time{}, op.ErrInvalidRefreshToken
	}
	delete(s.refreshes, used)
	token := rand.Text()
	s.refreshes[token] = &refresh{
		clientID: granted.GetClientID(),
		subject:  request.GetSubject(),
		audience: request.GetAudience(),
		scopes:   request.GetScopes(),
		authTime: granted.GetAuthTime(),
	}
	return id, token, expires, nil
}

func (s *store) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	found, valid := s.refreshes[token]
	if !valid {
		return nil, op.ErrInvalidRefreshToken
	}
	copied := *found
	return &copied, nil
}

func (s *store) GetRefreshTokenInfo(_ context.Context, _, token string) (string, string, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	found, valid := s.refreshes[token]
	if !valid {
		return "", "", op.ErrInvalidRefreshToken
	}
	return found.subject, token, nil
}

func (s *store) RevokeToken(_ context.Context, token, _, _ string) *oidc.Error {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.refreshes, token)
	return nil
}

// GetPrivateClaimsFromRequest returns the claims that a token has in addition: those of its subject, and the scopes.
func (s *store) GetPrivateClaimsFromRequest(
	_ context.Context, request op.TokenRequest, _ []string,
) (map[string]any, error) {
	claims := map[string]any{}
	if scopes := request.GetScopes(); len(scopes) > 0 {
		claims["scope"] = strings.Join(scopes, " ")
	}
	add := func(more map[string]any) {
		for name, value := range more {
			claims[name] = value
		}
	}
	if client, found := s.clients[request.GetSubject()]; found {
		add(client.Claims)
	}
	for _, user := range s.users {
		if user.Subject == request.GetSubject() {
			add(user.Claims)
		}
	}
	return claims, nil
}

package main

import (
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Client is a program that takes tokens. It implements op.Client.
type Client struct {
	ID string `json:"id"`
	// Secret is empty for a public client, which only names itself.
	Secret string `json:"secret"`
	// Grants are "client_credentials", "device_code" and "refresh_token".
	Grants []string `json:"grants"`
	// Audience goes into each token; by default the id of the client.
	Audience []string `json:"audience"`
	// Scopes are those that the client may have.
	Scopes []string `json:"scopes"`
	// Claims go into the client's own tokens.
	Claims map[string]any `json:"claims"`
}

// User is a person. The user's tokens have the Subject and the Claims.
type User struct {
	Name     string         `json:"name"`
	Password string         `json:"password"`
	Subject  string         `json:"subject"`
	Claims   map[string]any `json:"claims"`
}

var grants = map[string]oidc.GrantType{
	"client_credentials": oidc.GrantTypeClientCredentials,
	"device_code":        oidc.GrantTypeDeviceCode,
	"refresh_token":      oidc.GrantTypeRefreshToken,
}

func (c *Client) GetID() string { return c.ID }

func (c *Client) GrantTypes() []oidc.GrantType {
	given := make([]oidc.GrantType, 0, len(c.Grants))
	for _, name := range c.Grants {
		given = append(given, grants[name])
	}
	return given
}

func (c *Client) ApplicationType() op.ApplicationType {
	if c.Secret == "" {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c *Client) AuthMethod() oidc.AuthMethod {
	if c.Secret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

// allowed returns the scopes of a request that the client may have; all of the client's if the request names none.
func (c *Client) allowed(scopes []string) []string {
	if strings.Join(scopes, "") == "" { // an empty `scope` is read as one empty name
		return c.Scopes
	}
	var kept []string
	for _, scope := range scopes {
		if scope == oidc.ScopeOfflineAccess || slices.Contains(c.Scopes, scope) {
			kept = append(kept, scope)
		}
	}
	return kept
}

func (c *Client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c *Client) IsScopeAllowed(scope string) bool    { return slices.Contains(c.Scopes, scope) }
func (c *Client) IDTokenLifetime() time.Duration      { return time.Hour }
func (c *Client) ClockSkew() time.Duration            { return 0 }

// RestrictAdditionalIdTokenScopes and RestrictAdditionalAccessTokenScopes restrict nothing: allowed has done it.
func (c *Client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return same }
func (c *Client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return same }

func same(scopes []string) []string { return scopes }

// The rest is for grants that send the user to a web page of the client, which this provider does not offer.

func (c *Client) RedirectURIs() []string               { return nil }
func (c *Client) PostLogoutRedirectURIs() []string     { return nil }
func (c *Client) ResponseTypes() []oidc.ResponseType   { return nil }
func (c *Client) LoginURL(string) string               { return "" }
func (c *Client) DevMode() bool                        { return false }
func (c *Client) IDTokenUserinfoClaimsAssertion() bool { return false }

package main

import (
	"context"
	"errors"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var errNotOffered = errors.New("this provider does not offer that")

// notOffered refuses what op.Storage has besides: grants with a browser, sessions, user info, introspection.
type notOffered struct{}

func (notOffered) Health(context.Context) error { return nil }

func (notOffered) CreateAuthRequest(context.Context, *oidc.AuthRequest, string) (op.AuthRequest, error) {
	return nil, errNotOffered
}

func (notOffered) AuthRequestByID(context.Context, string) (op.AuthRequest, error) {
	return nil, errNotOffered
}

func (notOffered) AuthRequestByCode(context.Context, string) (op.AuthRequest, error) {
	return nil, errNotOffered
}

func (notOffered) SaveAuthCode(context.Context, string, string) error     { return errNotOffered }
func (notOffered) DeleteAuthRequest(context.Context, string) error        { return errNotOffered }
func (notOffered) TerminateSession(context.Context, string, string) error { return errNotOffered }

func (notOffered) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (notOffered) SetUserinfoFromToken(context.Context, *oidc.UserInfo, string, string, string) error {
	return errNotOffered
}

func (notOffered) SetIntrospectionFromToken(
	context.Context, *oidc.IntrospectionResponse, string, string, string,
) error {
	return errNotOffered
}

func (notOffered) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, errNotOffered
}

func (notOffered) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotOffered
}

func (notOffered) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotOffered
}

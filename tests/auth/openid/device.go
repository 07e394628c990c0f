package main

import (
	"html/template"
	"net/http"
)

// devicePage is the page on which a user confirms or denies a device. One form has the code, the user's name and
// password, and the decision.
type devicePage struct {
	store *store
}

var form = template.Must(template.New("form").Parse(`<!doctype html>
<title>Sign in a device</title>
<p>{{.Said}}</p>
<form method="post">
  <label>Code <input name="user_code" value="{{.Code}}"></label>
  <label>User <input name="username"></label>
  <label>Password <input name="password" type="password"></label>
  <button name="action" value="allow">Allow</button>
  <button name="action" value="deny">Deny</button>
</form>
`))

func (p devicePage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := struct{ Code, Said string }{Code: r.FormValue("user_code")}
	if r.Method == http.MethodPost {
		if err := p.decide(r); err != nil {
			page.Said = err.Error()
			w.WriteHeader(http.StatusForbidden)
		} else {
			page.Said = "You can go back to the device."
		}
	}
	_ = form.Execute(w, page)
}

func (p devicePage) decide(r *http.Request) error {
	user, err := p.store.login(r.FormValue("username"), r.FormValue("password"))
	if err != nil {
		return err
	}
	return p.store.decideDevice(r.FormValue("user_code"), user.Subject, r.FormValue("action") == "allow")
}

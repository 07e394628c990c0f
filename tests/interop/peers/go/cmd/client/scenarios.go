package main

import (
	"context"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
)

var scenarios = map[string]func(context.Context, *peer) (any, error){
	"card":       card,
	"send":       send,
	"message":    message,
	"start":      start,
	"stream":     stream,
	"turns":      turns,
	"subscribe":  subscribe,
	"cancel":     cancel,
	"leave":      leave,
	"pages":      pages,
	"errors":     failures,
	"tenants":    tenants,
	"extensions": extensions,
}

func card(_ context.Context, p *peer) (any, error) {
	return p.card, nil
}

func send(ctx context.Context, p *peer) (any, error) {
	asking := script(step{"status": "half way"}, step{"artifact": step{"id": "a-1", "text": "done"}})
	task, err := p.sendForTask(ctx, asking)
	return object{"task": task}, err
}

func message(ctx context.Context, p *peer) (any, error) {
	answer, err := p.send(ctx, script(step{"message": "Good morning"}))
	if err != nil {
		return nil, err
	}
	said, ok := answer.(*a2a.Message)
	if !ok {
		return nil, fmt.Errorf("the answer is not a message but %T", answer)
	}
	return object{"message": said}, nil
}

func start(ctx context.Context, p *peer) (any, error) {
	first, err := p.start(ctx, step{"artifact": step{"text": "draft"}}, step{"input": "Which date?"})
	if err != nil {
		return nil, err
	}
	for {
		later, err := p.get(ctx, first.ID)
		if err != nil {
			return nil, err
		}
		if later.Status.State == a2a.TaskStateInputRequired {
			return object{"first": first, "later": later}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func stream(ctx context.Context, p *peer) (any, error) {
	chunks := step{"chunks": step{"id": "text", "count": 3}}
	elements, err := p.stream(ctx, script(step{"status": "half way"}, chunks, step{"complete": "all done"}))
	if err != nil {
		return nil, err
	}
	id, err := idOf(elements)
	if err != nil {
		return nil, err
	}
	stored, err := p.get(ctx, id)
	return object{"elements": elements, "stored": stored}, err
}

func turns(ctx context.Context, p *peer) (any, error) {
	first, err := p.stream(ctx, script(step{"input": "Which date?"}, step{"artifact": step{"text": "booked"}}))
	if err != nil {
		return nil, err
	}
	id, err := idOf(first)
	if err != nil {
		return nil, err
	}
	second, err := p.stream(ctx, text("tomorrow", id))
	if err != nil {
		return nil, err
	}
	stored, err := p.get(ctx, id)
	if err != nil {
		return nil, err
	}
	one := 1
	newest, err := p.client.GetTask(ctx, &a2a.GetTaskRequest{ID: id, HistoryLength: &one})
	return object{"first": first, "second": second, "stored": stored, "newest": newest}, err
}

func subscribe(ctx context.Context, p *peer) (any, error) {
	asking := script(step{"input": "Go on?"}, step{"status": "going on"}, step{"artifact": step{"text": "x"}})
	task, err := p.sendForTask(ctx, asking)
	if err != nil {
		return nil, err
	}
	var answered *a2a.Task
	watched, err := told(p.subscribe(ctx, task.ID), func() (err error) {
		answered, err = p.sendForTask(ctx, text("yes", task.ID))
		return err
	})
	return object{"watched": watched, "answered": object{"task": answered}}, err
}

func cancel(ctx context.Context, p *peer) (any, error) {
	task, err := p.start(ctx, step{"sleep": 600})
	if err != nil {
		return nil, err
	}
	var canceled *a2a.Task
	watched, err := told(p.subscribe(ctx, task.ID), func() (err error) {
		canceled, err = p.cancel(ctx, task.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	again, err := p.cancel(ctx, task.ID)
	return object{"canceled": canceled, "again": again, "watched": watched}, err
}

func leave(ctx context.Context, p *peer) (any, error) {
	task, err := p.start(ctx, step{"sleep": 600})
	if err != nil {
		return nil, err
	}
	watching, end := context.WithCancel(ctx)
	defer end()
	for _, err := range p.subscribe(watching, task.ID) {
		if err != nil {
			return nil, err
		}
		break
	}
	end() // the SDK ends a call with its context, not with the loop
	left, err := p.get(ctx, task.ID)
	if err != nil {
		return nil, err
	}
	canceled, err := p.cancel(ctx, task.ID)
	return object{"left": left, "canceled": canceled}, err
}

func pages(ctx context.Context, p *peer) (any, error) {
	made, contextID := []a2a.TaskID{}, ""
	for number := range 5 {
		asking := script(step{"artifact": step{"text": fmt.Sprintf("result %d", number)}})
		asking.ContextID = contextID
		task, err := p.sendForTask(ctx, asking)
		if err != nil {
			return nil, err
		}
		made, contextID = append(made, task.ID), task.ContextID
	}
	pages, total := [][]a2a.TaskID{}, 0
	for token, more := "", true; more; more = token != "" {
		wanted := &a2a.ListTasksRequest{ContextID: contextID, PageSize: 2, PageToken: token}
		page, err := p.client.ListTasks(ctx, wanted)
		if err != nil {
			return nil, err
		}
		ids := []a2a.TaskID{}
		for _, task := range page.Tasks {
			ids = append(ids, task.ID)
		}
		pages, total, token = append(pages, ids), page.TotalSize, page.NextPageToken
	}
	whole := &a2a.ListTasksRequest{ContextID: contextID, PageSize: 100, IncludeArtifacts: true}
	full, err := p.client.ListTasks(ctx, whole)
	if err != nil {
		return nil, err
	}
	return object{"made": made, "pages": pages, "total": total, "with_artifacts": full.Tasks}, nil
}

func failures(ctx context.Context, p *peer) (any, error) {
	done, err := p.sendForTask(ctx, script(step{"complete": "done"}))
	if err != nil {
		return nil, err
	}
	return object{
		"get_unknown":       failed(p.get(ctx, "t-unknown")),
		"cancel_unknown":    failed(p.cancel(ctx, "t-unknown")),
		"subscribe_unknown": failed(told(p.subscribe(ctx, "t-unknown"), nil)),
		"cancel_done":       failed(p.cancel(ctx, done.ID)),
		"subscribe_done":    failed(told(p.subscribe(ctx, done.ID), nil)),
		"send_to_done":      failed(p.send(ctx, text("more", done.ID))),
		"no_parts":          failed(p.send(ctx, a2a.NewMessage(a2a.MessageRoleUser))),
		"page_size":         failed(p.client.ListTasks(ctx, &a2a.ListTasksRequest{PageSize: 101})),
		"bad_script":        failed(p.send(ctx, script(step{"nonsense": 1}))),
		"done":              done.ID,
	}, nil
}

func tenants(ctx context.Context, p *peer) (any, error) {
	task, err := p.sendForTask(ctx, script(step{"complete": "ours"}))
	if err != nil {
		return nil, err
	}
	ours, err := p.get(ctx, task.ID)
	asOther := failed(p.client.GetTask(ctx, &a2a.GetTaskRequest{ID: task.ID, Tenant: "other"}))
	return object{"ours": ours, "as_other": asOther}, err
}

// extensions says nothing of what was activated: the SDK does not show the metadata of answers.
func extensions(ctx context.Context, p *peer) (any, error) {
	asked := []string{}
	for _, offered := range p.card.Capabilities.Extensions {
		asked = append(asked, offered.URI)
	}
	asked = append(asked, "urn:unknown")
	asking := script(step{"complete": "done"})
	asking.SetMeta("urn:test", map[string]any{"list": []any{1, "two", nil}, "flag": true})
	extended := a2aclient.AttachServiceParams(ctx, a2aclient.ServiceParams{a2a.SvcParamExtensions: asked})
	task, err := p.sendForTask(extended, asking)
	if err != nil {
		return nil, err
	}
	stored, err := p.get(ctx, task.ID)
	return object{"task": stored, "asked": asked}, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
)

// object is a JSON object to be printed.
type object map[string]any

// step is one of the steps that an agent plays.
type step = map[string]any

// peer is the SDK's client, with a few words for what scenarios do with it.
type peer struct {
	client *a2aclient.Client
	card   *a2a.AgentCard
}

func script(steps ...any) *a2a.Message {
	return a2a.NewMessage(a2a.MessageRoleUser, a2a.NewDataPart(map[string]any{"script": steps}))
}

// text says something to a task.
func text(words string, to a2a.TaskID) *a2a.Message {
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(words))
	message.TaskID = to
	return message
}

// send waits for the answer, which is a task or a message.
func (p *peer) send(ctx context.Context, message *a2a.Message) (a2a.SendMessageResult, error) {
	return p.client.SendMessage(ctx, &a2a.SendMessageRequest{Message: message})
}

// sendForTask waits too.
func (p *peer) sendForTask(ctx context.Context, message *a2a.Message) (*a2a.Task, error) {
	return taskOf(p.send(ctx, message))
}

// start does not wait.
func (p *peer) start(ctx context.Context, steps ...any) (*a2a.Task, error) {
	config := &a2a.SendMessageConfig{ReturnImmediately: true}
	return taskOf(p.client.SendMessage(ctx, &a2a.SendMessageRequest{Message: script(steps...), Config: config}))
}

func taskOf(result a2a.SendMessageResult, err error) (*a2a.Task, error) {
	if err != nil {
		return nil, err
	}
	task, ok := result.(*a2a.Task)
	if !ok {
		return nil, fmt.Errorf("the answer is not a task but %T", result)
	}
	return task, nil
}

func (p *peer) stream(ctx context.Context, message *a2a.Message) ([]a2a.StreamResponse, error) {
	return told(p.client.SendStreamingMessage(ctx, &a2a.SendMessageRequest{Message: message}), nil)
}

func (p *peer) subscribe(ctx context.Context, id a2a.TaskID) iter.Seq2[a2a.Event, error] {
	return p.client.SubscribeToTask(ctx, &a2a.SubscribeToTaskRequest{ID: id})
}

// told reads a stream to its end. After the first element it does what meanwhile says.
func told(stream iter.Seq2[a2a.Event, error], meanwhile func() error) ([]a2a.StreamResponse, error) {
	elements := []a2a.StreamResponse{}
	for event, err := range stream {
		if err != nil {
			return nil, err
		}
		elements = append(elements, a2a.StreamResponse{Event: event})
		if len(elements) == 1 && meanwhile != nil {
			if err := meanwhile(); err != nil {
				return nil, err
			}
		}
	}
	return elements, nil
}

// idOf gives the id of the task that a stream is about.
func idOf(elements []a2a.StreamResponse) (a2a.TaskID, error) {
	if len(elements) == 0 {
		return "", errors.New("the stream had no elements")
	}
	return elements[0].TaskInfo().TaskID, nil
}

func (p *peer) get(ctx context.Context, id a2a.TaskID) (*a2a.Task, error) {
	return p.client.GetTask(ctx, &a2a.GetTaskRequest{ID: id})
}

func (p *peer) cancel(ctx context.Context, id a2a.TaskID) (*a2a.Task, error) {
	return p.client.CancelTask(ctx, &a2a.CancelTaskRequest{ID: id})
}

// failure is what a call that must fail gave. The SDK shows the reason, not the status code.
type failure struct {
	Type   string `json:"type"`
	Text   string `json:"text,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// failed takes all that a call gives, of which only the error counts.
func failed[T any](_ T, err error) failure {
	if err == nil {
		return failure{}
	}
	var known *a2a.Error
	if errors.As(err, &known) {
		return failure{known.Err.Error(), known.Error(), a2a.ErrorReason(known)}
	}
	return failure{Type: fmt.Sprintf("%T", err), Text: err.Error()}
}

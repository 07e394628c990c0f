package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
)

// step is one step of a script: the field that is set says which.
type step struct {
	Status   *string
	Artifact *struct{ ID, Name, Text string }
	Chunks   *struct {
		ID    string
		Count int
	}
	Sleep    *float64 // in seconds
	Input    *string
	Complete *string
	Fail     *string
	Reject   *string
	Raise    *string
	Message  *string
	echo     bool
}

// scripted is the SDK's AgentExecutor.
type scripted struct {
	mu   sync.Mutex
	left map[a2a.TaskID][]step // what the next message of a task plays that has asked something
}

var _ a2asrv.AgentExecutor = (*scripted)(nil)

func newScripted() *scripted {
	return &scripted{left: map[a2a.TaskID][]step{}}
}

func (s *scripted) Execute(ctx context.Context, call *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		steps, err := s.stepsOf(call)
		if err != nil {
			yield(nil, err)
			return
		}
		if text := steps[0].Message; text != nil {
			message := a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(*text))
			message.ContextID = call.ContextID
			yield(message, nil)
			return
		}
		if call.StoredTask == nil && !yield(a2a.NewSubmittedTask(call, call.Message), nil) {
			return
		}
		turn := turn{ctx, call, yield}
		if !turn.status(a2a.TaskStateWorking, nil) {
			return
		}
		for place, step := range steps {
			if step.Input != nil {
				s.keep(call.TaskID, steps[place+1:])
			}
			if !turn.play(step) {
				return
			}
		}
		turn.status(a2a.TaskStateCompleted, nil)
	}
}

// Cancel is called beside an Execute that is at work: what it yields ends that one, whose context is then canceled.
func (s *scripted) Cancel(_ context.Context, call *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		s.keep(call.TaskID, nil)
		yield(a2a.NewStatusUpdateEvent(call, a2a.TaskStateCanceled, nil), nil)
	}
}

// stepsOf gives at least one step.
func (s *scripted) stepsOf(call *a2asrv.ExecutorContext) ([]step, error) {
	left := s.keep(call.TaskID, nil)
	for _, part := range call.Message.Parts {
		if part.Data() == nil {
			continue
		}
		var content struct{ Script []step }
		bytes, err := json.Marshal(part.Data())
		if err == nil {
			err = json.Unmarshal(bytes, &content)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: script: %w", a2a.ErrInvalidParams, err)
		}
		if len(content.Script) > 0 {
			return content.Script, nil
		}
	}
	if len(left) > 0 {
		return left, nil
	}
	return []step{{echo: true}}, nil
}

// keep remembers what a task has left to play; it gives what was there before.
func (s *scripted) keep(task a2a.TaskID, steps []step) []step {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.left[task]
	if len(steps) > 0 {
		s.left[task] = steps
	} else {
		delete(s.left, task)
	}
	return before
}

// turn is one Execute: its methods say whether it goes on.
type turn struct {
	ctx   context.Context
	call  *a2asrv.ExecutorContext
	yield func(a2a.Event, error) bool
}

func (t turn) play(step step) bool {
	switch {
	case step.Status != nil:
		return t.status(a2a.TaskStateWorking, step.Status)
	case step.Artifact != nil:
		artifact := a2a.NewArtifactEvent(t.call, a2a.NewTextPart(step.Artifact.Text))
		artifact.Artifact.Name = step.Artifact.Name
		if step.Artifact.ID != "" {
			artifact.Artifact.ID = a2a.ArtifactID(step.Artifact.ID)
		}
		return t.yield(artifact, nil)
	case step.Chunks != nil:
		return t.chunks(a2a.ArtifactID(step.Chunks.ID), step.Chunks.Count)
	case step.echo:
		echo := a2a.NewArtifactEvent(t.call, t.call.Message.Parts...)
		echo.Artifact.Name, echo.LastChunk = "echo", true
		return t.yield(echo, nil)
	case step.Sleep != nil:
		select {
		case <-t.ctx.Done():
			return false
		case <-time.After(time.Duration(*step.Sleep * float64(time.Second))):
			return true
		}
	case step.Input != nil:
		return t.end(a2a.TaskStateInputRequired, step.Input)
	case step.Complete != nil:
		return t.end(a2a.TaskStateCompleted, step.Complete)
	case step.Fail != nil:
		return t.end(a2a.TaskStateFailed, step.Fail)
	case step.Reject != nil:
		return t.end(a2a.TaskStateRejected, step.Reject)
	case step.Raise != nil:
		t.yield(nil, errors.New(*step.Raise)) // the SDK makes a failed task of it
		return false
	default:
		t.yield(nil, errors.New("no such step"))
		return false
	}
}

func (t turn) chunks(id a2a.ArtifactID, count int) bool {
	for i := range count {
		chunk := a2a.NewArtifactUpdateEvent(t.call, id, a2a.NewTextPart(fmt.Sprintf("chunk %d ", i)))
		chunk.Append, chunk.LastChunk = i > 0, i == count-1
		if !t.yield(chunk, nil) {
			return false
		}
	}
	return true
}

func (t turn) status(state a2a.TaskState, text *string) bool {
	var message *a2a.Message
	if text != nil {
		message = a2a.NewMessageForTask(a2a.MessageRoleAgent, t.call, a2a.NewTextPart(*text))
	}
	return t.yield(a2a.NewStatusUpdateEvent(t.call, state, message), nil)
}

func (t turn) end(state a2a.TaskState, text *string) bool {
	t.status(state, text)
	return false
}

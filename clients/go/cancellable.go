package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"example.com/a2a-cancellable/a2apb"
)

// pace says how many steps a task of servers/cancellable.py has, and how long each takes.
type pace struct {
	steps       int
	stepSeconds float64
}

// cancelAtProgress cancels a task while its stream is open: the stream ends by itself, with what came of the task.
func (a *agent) cancelAtProgress(ctx context.Context, pace pace, cancelAt float64) error {
	id, err := a.start(ctx, pace)
	if err != nil {
		return err
	}
	stream, err := a.SubscribeToTask(ctx, &a2apb.SubscribeToTaskRequest{Tenant: a.tenant, Id: id})
	if err != nil {
		return err
	}
	for canceling := false; ; {
		event, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if now := statusOf(event); now != nil && now.GetState() != a2apb.TaskState_TASK_STATE_SUBMITTED {
			fmt.Println("[STATUS]", stateName(now))
		}
		progress, told := progressOf(event)
		if !told {
			continue
		}
		fmt.Println("[DATA ] progress:", decimal(progress))
		if progress >= cancelAt && !canceling {
			canceling = true
			fmt.Println("Canceling task", id)
			if _, err := a.CancelTask(ctx, &a2apb.CancelTaskRequest{Tenant: a.tenant, Id: id}); err != nil {
				return err
			}
		}
	}
}

// showError asks for a task that is not there, and tells what the error says to a program.
func (a *agent) showError(ctx context.Context) error {
	_, err := a.GetTask(ctx, &a2apb.GetTaskRequest{Tenant: a.tenant, Id: "no-such-task"})
	failed := status.Convert(err)
	for _, detail := range failed.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		var facts []string
		for key, value := range info.GetMetadata() {
			facts = append(facts, key+"="+value)
		}
		slices.Sort(facts)
		words := append([]string{"[ERROR]", codeName(failed), info.GetReason()}, facts...)
		fmt.Println(strings.Join(words, " "))
		return nil
	}
	return err
}

// leaveStream ends the stream of a task that is at work: the task goes on, for its life is not the stream's.
func (a *agent) leaveStream(ctx context.Context) error {
	id, err := a.start(ctx, pace{steps: 1, stepSeconds: 60})
	if err != nil {
		return err
	}
	watching, leave := context.WithCancel(ctx)
	defer leave()
	stream, err := a.SubscribeToTask(watching, &a2apb.SubscribeToTaskRequest{Tenant: a.tenant, Id: id})
	if err != nil {
		return err
	}
	var end error
	for end == nil {
		var event *a2apb.StreamResponse
		event, end = stream.Recv()
		if statusOf(event).GetState() == a2apb.TaskState_TASK_STATE_WORKING {
			leave()
		}
	}
	if status.Code(end) != codes.Canceled {
		return fmt.Errorf("the stream ended before it was left: %w", end)
	}
	task, err := a.GetTask(ctx, &a2apb.GetTaskRequest{Tenant: a.tenant, Id: id})
	if err != nil {
		return err
	}
	fmt.Printf("[LEFT ] stream %s, task %s\n", codeName(status.Convert(end)), stateName(task.GetStatus()))
	_, err = a.CancelTask(ctx, &a2apb.CancelTaskRequest{Tenant: a.tenant, Id: id})
	return err
}

// start gives the id of a task that has been started, without waiting for it.
func (a *agent) start(ctx context.Context, pace pace) (string, error) {
	asked := structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"steps":        structpb.NewNumberValue(float64(pace.steps)),
		"step_seconds": structpb.NewNumberValue(pace.stepSeconds),
	}})
	response, err := a.SendMessage(ctx, &a2apb.SendMessageRequest{
		Tenant: a.tenant,
		Message: &a2apb.Message{
			MessageId: rand.Text(),
			Role:      a2apb.Role_ROLE_USER,
			Parts:     []*a2apb.Part{{Content: &a2apb.Part_Data{Data: asked}}},
		},
		Configuration: &a2apb.SendMessageConfiguration{ReturnImmediately: true},
	})
	if err != nil {
		return "", err
	}
	if response.GetTask() == nil {
		return "", errors.New("the agent answers with a bare message, not with a task")
	}
	return response.GetTask().GetId(), nil
}

// statusOf gives nil for an event that says nothing of the task's status. A stream begins with the task as it is.
func statusOf(event *a2apb.StreamResponse) *a2apb.TaskStatus {
	if task := event.GetTask(); task != nil {
		return task.GetStatus()
	}
	return event.GetStatusUpdate().GetStatus()
}

func progressOf(event *a2apb.StreamResponse) (progress float64, told bool) {
	artifact := event.GetArtifactUpdate().GetArtifact()
	if artifact.GetName() != "progress" || len(artifact.GetParts()) == 0 {
		return 0, false
	}
	value, told := artifact.GetParts()[0].GetData().GetStructValue().GetFields()["progress"]
	return value.GetNumberValue(), told
}

// stateName leaves out the prefix that the names of an enum share.
func stateName(now *a2apb.TaskStatus) string {
	return strings.TrimPrefix(now.GetState().String(), "TASK_STATE_")
}

// codeName gives the name that gRPC has for a code in every language, NOT_FOUND, not Go's own, NotFound.
func codeName(failed *status.Status) string {
	return code.Code(failed.Code()).String()
}

// decimal prints 1 as 1.0.
func decimal(number float64) string {
	text := strconv.FormatFloat(number, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

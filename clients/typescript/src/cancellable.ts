/** What this client does with an agent, shown for servers/cancellable.py, which works in steps. */

import { randomUUID } from "node:crypto";
import type { Agent } from "./agent.js";
import { codeName, errorInfo, isServiceError } from "./errors.js";
import { Role, type StreamResponse, type Task, TaskState, type TaskStatus } from "./generated/a2a.js";

export interface Pace {
  steps: number;
  stepSeconds: number;
}

/** Starts a task, follows its progress, cancels it while the stream is open: the stream ends with what came of it. */
export async function cancelAtProgress(agent: Agent, pace: Pace, cancelAt: number): Promise<void> {
  const task = await start(agent, pace);
  let canceling = false;
  for await (const event of agent.subscribe(task.id)) {
    const status = statusOf(event);
    if (status && status.state !== TaskState.SUBMITTED) console.log(`[STATUS] ${stateName(status)}`);
    const progress = progressOf(event);
    if (progress === undefined) continue;
    console.log(`[DATA ] progress: ${Number.isInteger(progress) ? progress.toFixed(1) : progress}`);
    if (progress >= cancelAt && !canceling) {
      canceling = true;
      console.log(`Canceling task ${task.id}`);
      await agent.cancelTask(task.id);
    }
  }
}

/** Asks for a task that is not there, and tells what the error says to a program. */
export async function showError(agent: Agent): Promise<void> {
  try {
    await agent.getTask("no-such-task");
  } catch (error) {
    const info = isServiceError(error) ? errorInfo(error) : undefined;
    if (!isServiceError(error) || !info) throw error;
    const pairs = Object.entries(info.metadata).map(([key, value]) => `${key}=${value}`);
    console.log(["[ERROR]", codeName(error), info.reason, ...pairs.sort()].join(" "));
  }
}

/** Leaves the stream of a task that is at work: the task goes on, for a task's life is not a stream's life. */
export async function leaveStream(agent: Agent): Promise<void> {
  const task = await start(agent, { steps: 1, stepSeconds: 60 });
  const watching = new AbortController();
  let end = "OK";
  try {
    for await (const event of agent.subscribe(task.id, watching.signal)) {
      if (statusOf(event)?.state === TaskState.WORKING) watching.abort();
    }
  } catch (error) {
    if (!isServiceError(error) || !watching.signal.aborted) throw error;
    end = codeName(error);
  }
  const { status } = await agent.getTask(task.id);
  console.log(`[LEFT ] stream ${end}, task ${stateName(status)}`);
  await agent.cancelTask(task.id);
}

async function start(agent: Agent, { steps, stepSeconds }: Pace): Promise<Task> {
  const { payload } = await agent.sendMessage({
    message: {
      messageId: randomUUID(),
      role: Role.USER,
      parts: [{ content: { $case: "data", value: { steps, step_seconds: stepSeconds } } }],
    },
    configuration: { returnImmediately: true },
  });
  if (payload?.$case !== "task") throw new Error("the agent answers with a bare message, not with a task");
  return payload.value;
}

function statusOf({ payload }: StreamResponse): TaskStatus | undefined {
  switch (payload?.$case) {
    case "task": // the first element: how the task stands
    case "statusUpdate":
      return payload.value.status;
    default:
      return undefined;
  }
}

function progressOf({ payload }: StreamResponse): number | undefined {
  if (payload?.$case !== "artifactUpdate" || payload.value.artifact?.name !== "progress") return undefined;
  const content = payload.value.artifact.parts[0]?.content;
  return content?.$case === "data" ? content.value.progress : undefined;
}

/** The name as A2A has it, without the prefix of the enum. */
function stateName(status: TaskStatus | undefined): string {
  return (status?.state ?? TaskState.UNSPECIFIED).replace("TASK_STATE_", "");
}

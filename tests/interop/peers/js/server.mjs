/**
 * An agent made of the official JavaScript SDK alone: plays the scripts of its messages.
 *
 *     node server.mjs
 *
 * Prints where it is as one JSON line; ../README.md says what the line holds and what a script is.
 */

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { AGENT_CARD_PATH, AgentCard, Message, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent } from "@a2a-js/sdk";
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from "@a2a-js/sdk/server";
import { agentCardHandler } from "@a2a-js/sdk/server/express";
import { A2AService, grpcService, UserBuilder } from "@a2a-js/sdk/server/grpc";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import express from "express";

const ENDS = {
  input: "TASK_STATE_INPUT_REQUIRED",
  complete: "TASK_STATE_COMPLETED",
  fail: "TASK_STATE_FAILED",
  reject: "TASK_STATE_REJECTED",
};

/** The SDK's AgentExecutor. Keeps the turn of each task that is at work, or waits for its next message. */
class Scripted {
  #turns = new Map();

  execute = async (context, bus) => {
    const steps = scriptOf(context.userMessage) ?? this.#turns.get(context.taskId)?.left;
    const turn = new Turn(context, bus);
    if (steps?.[0]?.message !== undefined) return turn.answer(steps[0].message);
    this.#turns.set(context.taskId, turn);
    try {
      await turn.play(steps);
    } catch (error) {
      if (!turn.stop.signal.aborted) throw error; // the SDK makes a failed task of it
    } finally {
      if (!turn.left) this.#turns.delete(context.taskId);
    }
  };

  cancelTask = async (taskId) => {
    const turn = this.#turns.get(taskId);
    this.#turns.delete(taskId);
    turn?.status("TASK_STATE_CANCELED");
    turn?.stop.abort();
  };
}

class Turn {
  stop = new AbortController();
  /** The steps that the task's next message plays. */
  left = undefined;

  constructor(context, bus) {
    this.context = context;
    this.bus = bus;
    this.ids = { taskId: context.taskId, contextId: context.contextId };
  }

  async play(steps) {
    this.#open();
    for (const [place, step] of (steps ?? [{ echo: null }]).entries()) {
      const [[name, value]] = Object.entries(step);
      if (name === "input") this.left = steps.slice(place + 1);
      if (name in ENDS) return this.status(ENDS[name], value);
      await this.#step(name, value);
    }
    this.status("TASK_STATE_COMPLETED");
  }

  answer(text) {
    this.#publish(AgentEvent.message(Message.fromJSON(spoken(text, { contextId: this.ids.contextId }))));
  }

  status(state, text) {
    const message = text === undefined ? undefined : spoken(text, this.ids);
    const status = { state, message, timestamp: new Date().toISOString() };
    this.#publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON({ ...this.ids, status })));
  }

  /** The SDK wants a task first in every turn, in a later one too. */
  #open() {
    const { taskId: id, contextId } = this.ids;
    const status = { state: "TASK_STATE_SUBMITTED", timestamp: new Date().toISOString() };
    this.#publish(AgentEvent.task(this.context.task ?? Task.fromJSON({ id, contextId, status })));
    this.status("TASK_STATE_WORKING");
  }

  async #step(name, value) {
    switch (name) {
      case "echo":
        return this.#artifact({ name, parts: this.context.userMessage.parts, lastChunk: true });
      case "status":
        return this.status("TASK_STATE_WORKING", value);
      case "artifact":
        return this.#artifact({ id: value.id, name: value.name, parts: texts(value.text ?? "") });
      case "chunks":
        for (let i = 0; i < value.count; i++) {
          const lastChunk = i === value.count - 1;
          this.#artifact({ id: value.id, parts: texts(`chunk ${i} `), append: i > 0, lastChunk });
        }
        return;
      case "sleep":
        return sleep(value * 1000, undefined, { signal: this.stop.signal });
      case "raise":
        throw new Error(value);
      default:
        throw new Error(`no such step: ${name}`);
    }
  }

  #artifact({ id = randomUUID(), name, parts, append, lastChunk }) {
    const update = { ...this.ids, artifact: { artifactId: id, name }, append, lastChunk };
    const event = TaskArtifactUpdateEvent.fromJSON(update);
    event.artifact.parts = parts;
    this.#publish(AgentEvent.artifactUpdate(event));
  }

  #publish(event) {
    this.stop.signal.throwIfAborted();
    this.bus.publish(event);
  }
}

function scriptOf(message) {
  return message.parts.find(({ content }) => content?.$case === "data")?.content.value?.script;
}

function spoken(text, ids) {
  return { messageId: randomUUID(), role: "ROLE_AGENT", parts: [{ text }], ...ids };
}

function texts(text) {
  return Message.fromJSON({ parts: [{ text }] }).parts;
}

function cardOf(address) {
  return AgentCard.fromJSON({
    name: "Peer",
    description: "Plays scripts.",
    version: "1.0.0",
    supportedInterfaces: [{ url: address, protocolBinding: "GRPC", protocolVersion: "1.0" }],
    capabilities: { streaming: true, pushNotifications: false, extendedAgentCard: false },
    defaultInputModes: ["text/plain", "application/json"],
    defaultOutputModes: ["text/plain", "application/json"],
    skills: [{ id: "play", name: "Play", description: "Plays a script, or echoes.", tags: ["play"] }],
  });
}

async function nameOfSdk() {
  const { name, version } = JSON.parse(await readFile(new URL("../package.json", import.meta.resolve("@a2a-js/sdk"))));
  return `${name} ${version}`;
}

async function main() {
  const server = new Server();
  const port = await promisify(server.bindAsync).call(server, "127.0.0.1:0", ServerCredentials.createInsecure());
  const address = `127.0.0.1:${port}`;
  const requestHandler = new DefaultRequestHandler(cardOf(address), new InMemoryTaskStore(), new Scripted());
  server.addService(A2AService, grpcService({ requestHandler, userBuilder: UserBuilder.noAuthentication }));

  const application = express();
  application.use(`/${AGENT_CARD_PATH}`, agentCardHandler({ agentCardProvider: requestHandler }));
  const web = application.listen(0, "127.0.0.1");
  await once(web, "listening");

  process.on("SIGTERM", () => process.exit(0));
  const http = `http://127.0.0.1:${web.address().port}`;
  console.log(JSON.stringify({ event: "ready", grpc: address, http, sdk: await nameOfSdk() }));
}

await main();

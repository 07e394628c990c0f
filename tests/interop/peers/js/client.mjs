/**
 * A client made of the official JavaScript SDK alone: plays scenarios against an agent, prints what it saw.
 *
 *     node client.mjs CARD_URL SCENARIO ...
 *
 * ../README.md says what each scenario does and what its line holds.
 */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AgentCard,
  CancelTaskRequest,
  GetTaskRequest,
  ListTasksRequest,
  Message,
  SendMessageRequest,
  StreamResponse,
  SubscribeToTaskRequest,
  Task,
} from "@a2a-js/sdk";
import { ClientFactory, ServiceParameters, withA2AExtensions } from "@a2a-js/sdk/client";
import { GrpcTransportFactory } from "@a2a-js/sdk/client/grpc";
import { GRPC_STATUS_CODE, isGrpcError } from "@a2a-js/sdk/errors/grpc";

const SCENARIO_TIMEOUT_MS = 30_000;
const CODE_NAMES = Object.fromEntries(Object.entries(GRPC_STATUS_CODE).map(([name, code]) => [code, name]));

class Peer {
  constructor(client) {
    this.client = client;
  }

  static async at(cardUrl) {
    const factory = new ClientFactory({ transports: [new GrpcTransportFactory()] });
    return new Peer(await factory.createFromUrl(cardUrl));
  }

  /** The Task or Message that a send gives, as JSON of a SendMessageResponse. */
  async send(message, configuration, options) {
    const result = await this.client.sendMessage(request(message, configuration), options);
    return "messageId" in result ? { message: Message.toJSON(result) } : { task: Task.toJSON(result) };
  }

  async start(...steps) {
    return (await this.send(script(steps), { returnImmediately: true })).task;
  }

  stream(message) {
    return told(this.client.sendMessageStream(request(message)));
  }

  watch(id) {
    return this.client.resubscribeTask(SubscribeToTaskRequest.fromJSON({ id }));
  }

  async get(id, fields) {
    return Task.toJSON(await this.client.getTask(GetTaskRequest.fromJSON({ id, ...fields })));
  }

  async cancel(id) {
    return Task.toJSON(await this.client.cancelTask(CancelTaskRequest.fromJSON({ id })));
  }

  list(fields) {
    return this.client.listTasks(ListTasksRequest.fromJSON(fields));
  }
}

function request(message, configuration) {
  const sent = { messageId: randomUUID(), role: "ROLE_USER", ...message };
  return SendMessageRequest.fromJSON({ message: sent, configuration });
}

function script(steps, fields) {
  return { parts: [{ data: { script: steps } }], ...fields };
}

function text(words, fields) {
  return { parts: [{ text: words }], ...fields };
}

/** All that is left of a stream. */
async function told(stream) {
  const elements = [];
  for await (const element of stream) elements.push(StreamResponse.toJSON(element));
  return elements;
}

async function firstOf(stream) {
  const { value, done } = await stream.next();
  if (done) throw new Error("the stream ended without an element");
  return StreamResponse.toJSON(value);
}

/** What a call that must fail raised. */
async function failure(call) {
  try {
    await call;
  } catch (error) {
    const grpc = isGrpcError(error) ? { reason: error.reason, code: CODE_NAMES[error.status] } : {};
    return { type: error.name, text: error.message, ...grpc };
  }
  return { type: "" };
}

const SCENARIOS = {
  async card({ client }) {
    return AgentCard.toJSON(await client.getAgentCard());
  },

  async send(peer) {
    return peer.send(script([{ status: "half way" }, { artifact: { id: "a-1", text: "done" } }]));
  },

  async message(peer) {
    return peer.send(script([{ message: "Good morning" }]));
  },

  async start(peer) {
    const first = await peer.start({ artifact: { text: "draft" } }, { input: "Which date?" });
    let later = await peer.get(first.id);
    while (later.status.state !== "TASK_STATE_INPUT_REQUIRED") {
      await sleep(10);
      later = await peer.get(first.id);
    }
    return { first, later };
  },

  async stream(peer) {
    const steps = [{ status: "half way" }, { chunks: { id: "text", count: 3 } }, { complete: "all done" }];
    const elements = await peer.stream(script(steps));
    return { elements, stored: await peer.get(elements[0].task.id) };
  },

  async turns(peer) {
    const first = await peer.stream(script([{ input: "Which date?" }, { artifact: { text: "booked" } }]));
    const taskId = first[0].task.id;
    const second = await peer.stream(text("tomorrow", { taskId }));
    return { first, second, stored: await peer.get(taskId), newest: await peer.get(taskId, { historyLength: 1 }) };
  },

  async subscribe(peer) {
    const { task } = await peer.send(
      script([{ input: "Go on?" }, { status: "going on" }, { artifact: { text: "x" } }]),
    );
    const watching = peer.watch(task.id);
    const watched = [await firstOf(watching)];
    const answered = await peer.send(text("yes", { taskId: task.id }));
    watched.push(...(await told(watching)));
    return { watched, answered };
  },

  async cancel(peer) {
    const { id } = await peer.start({ sleep: 600 });
    const watching = peer.watch(id);
    const watched = [await firstOf(watching)];
    const canceled = await peer.cancel(id);
    watched.push(...(await told(watching)));
    return { canceled, again: await peer.cancel(id), watched };
  },

  async leave(peer) {
    const { id } = await peer.start({ sleep: 600 });
    for await (const _ of peer.watch(id)) break; // the SDK cancels the call
    return { left: await peer.get(id), canceled: await peer.cancel(id) };
  },

  async pages(peer) {
    const made = [];
    let contextId;
    for (let number = 0; number < 5; number++) {
      const { task } = await peer.send(script([{ artifact: { text: `result ${number}` } }], { contextId }));
      contextId = task.contextId;
      made.push(task.id);
    }
    const pages = [];
    let page;
    do {
      page = await peer.list({ contextId, pageSize: 2, pageToken: page?.nextPageToken });
      pages.push(page.tasks.map(({ id }) => id));
    } while (page.nextPageToken);
    const full = await peer.list({ contextId, pageSize: 100, includeArtifacts: true });
    return { made, pages, total: page.totalSize, with_artifacts: full.tasks.map((task) => Task.toJSON(task)) };
  },

  async errors(peer) {
    const { id: done } = (await peer.send(script([{ complete: "done" }]))).task;
    return {
      get_unknown: await failure(peer.get("t-unknown")),
      cancel_unknown: await failure(peer.cancel("t-unknown")),
      subscribe_unknown: await failure(told(peer.watch("t-unknown"))),
      cancel_done: await failure(peer.cancel(done)),
      subscribe_done: await failure(told(peer.watch(done))),
      send_to_done: await failure(peer.send(text("more", { taskId: done }))),
      no_parts: await failure(peer.send({ parts: [] })),
      page_size: await failure(peer.list({ pageSize: 101 })),
      bad_script: await failure(peer.send(script([{ nonsense: 1 }]))),
      done,
    };
  },

  async tenants(peer) {
    const { id } = (await peer.send(script([{ complete: "ours" }]))).task;
    return { ours: await peer.get(id), as_other: await failure(peer.get(id, { tenant: "other" })) };
  },

  /** The SDK does not show the server's metadata, so that nothing can be said of `activated`. */
  async extensions(peer) {
    const { capabilities } = await peer.client.getAgentCard();
    const asked = [...(capabilities?.extensions ?? []).map(({ uri }) => uri), "urn:unknown"];
    const metadata = { "urn:test": { list: [1, "two", null], flag: true } };
    const options = { serviceParameters: ServiceParameters.create(withA2AExtensions(...asked)) };
    const { task } = await peer.send(script([{ complete: "done" }], { metadata }), undefined, options);
    return { task: await peer.get(task.id), asked };
  },
};

async function play(peer, scenario) {
  if (!Object.hasOwn(SCENARIOS, scenario)) throw new Error("no such scenario");
  const late = sleep(SCENARIO_TIMEOUT_MS, undefined, { ref: false }).then(() => {
    throw new Error(`takes longer than ${SCENARIO_TIMEOUT_MS} ms`);
  });
  return Promise.race([SCENARIOS[scenario](peer), late]);
}

async function main([cardUrl, ...scenarios]) {
  const peer = await Peer.at(cardUrl);
  for (const scenario of scenarios) {
    const seen = await play(peer, scenario).catch((error) => {
      throw new Error(`scenario ${scenario}`, { cause: error });
    });
    process.stdout.write(`${JSON.stringify({ scenario, seen })}\n`);
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});

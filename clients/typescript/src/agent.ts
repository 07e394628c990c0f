/** An agent as a few methods that give promises and async iterators, over the generated client. */

import { isIPv4 } from "node:net";
import {
  type CallOptions,
  type ChannelCredentials,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type requestCallback,
} from "@grpc/grpc-js";
import {
  A2AServiceClient,
  type AgentInterface,
  CancelTaskRequest,
  type DeepPartial,
  GetTaskRequest,
  SendMessageRequest,
  type SendMessageResponse,
  type StreamResponse,
  SubscribeToTaskRequest,
  type Task,
} from "./generated/a2a.js";

export class Agent {
  readonly #client: A2AServiceClient;
  readonly #tenant: string;
  readonly #metadata = new Metadata(); // goes with every call

  constructor({ url, tenant }: AgentInterface) {
    this.#client = new A2AServiceClient(url, credentialsFor(url));
    this.#tenant = tenant;
    this.#metadata.set("a2a-version", "1.0");
  }

  sendMessage(request: DeepPartial<SendMessageRequest>): Promise<SendMessageResponse> {
    return this.#call(this.#client.sendMessage, SendMessageRequest.fromPartial({ ...request, tenant: this.#tenant }));
  }

  getTask(id: string): Promise<Task> {
    return this.#call(this.#client.getTask, GetTaskRequest.fromPartial({ tenant: this.#tenant, id }));
  }

  cancelTask(id: string): Promise<Task> {
    return this.#call(this.#client.cancelTask, CancelTaskRequest.fromPartial({ tenant: this.#tenant, id }));
  }

  /** Follows a task to its end. To leave earlier, break out of the loop, or abort: then the loop throws CANCELLED. */
  async *subscribe(id: string, signal?: AbortSignal): AsyncGenerator<StreamResponse, void> {
    signal?.throwIfAborted();
    const request = SubscribeToTaskRequest.fromPartial({ tenant: this.#tenant, id });
    const call = this.#client.subscribeToTask(request, this.#metadata);
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel);
    try {
      yield* call as AsyncIterable<StreamResponse>;
    } finally {
      signal?.removeEventListener("abort", cancel);
      cancel(); // nothing happens to a call that has ended
    }
  }

  close(): void {
    this.#client.close();
  }

  #call<Request, Response>(method: Unary<Request, Response>, request: Request): Promise<Response> {
    return new Promise((resolve, reject) => {
      method.call(this.#client, request, this.#metadata, {}, (error, response) => {
        if (error) reject(error);
        else resolve(response as Response); // there is one if there is no error
      });
    });
  }
}

/** A method of the generated client with one answer: of its overloads the one that takes everything. */
type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: CallOptions,
  callback: requestCallback<Response>,
) => ClientUnaryCall;

/** Plaintext within this machine, TLS to any other. */
function credentialsFor(url: string): ChannelCredentials {
  if (!URL.canParse(`http://${url}`)) throw new Error(`the card's gRPC address '${url}' is not HOST:PORT`);
  const { hostname } = new URL(`http://${url}`);
  const loopback = ["localhost", "[::1]"].includes(hostname) || (isIPv4(hostname) && hostname.startsWith("127."));
  return loopback ? credentials.createInsecure() : credentials.createSsl();
}

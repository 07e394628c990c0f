/** Finds out where an agent is: its card says so. */

import { AgentCard, type AgentInterface } from "./generated/a2a.js";

/** The first interface of the agent's card that speaks A2A 1.0 over gRPC. `base` is the URL of the agent's web site. */
export async function grpcInterface(base: string): Promise<AgentInterface> {
  const url = `${base.replace(/\/+$/, "")}/.well-known/agent-card.json`;
  const { supportedInterfaces } = await fetchCard(url);
  const found = supportedInterfaces.find((offered) => kindOf(offered) === "GRPC 1.0");
  if (found) return found;
  const others = supportedInterfaces.map(kindOf).join(", ") || "none at all";
  throw new Error(`${url} names no interface GRPC 1.0, but ${others}`);
}

function kindOf({ protocolBinding, protocolVersion }: AgentInterface): string {
  return `${protocolBinding} ${protocolVersion}`;
}

async function fetchCard(url: string): Promise<AgentCard> {
  const response = await fetch(url).catch((error: unknown) => {
    throw new Error(`cannot fetch ${url}: ${reasonOf(error)}`);
  });
  if (!response.ok) throw new Error(`cannot fetch ${url}: HTTP ${response.status} ${response.statusText}`);
  try {
    return AgentCard.fromJSON(await response.json());
  } catch {
    throw new Error(`${url} is not an agent card`);
  }
}

/** What went wrong with a fetch: its error says no more than that it failed, and has the reason as its cause. */
function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error && error.cause ? error.cause : error;
  if (cause instanceof AggregateError) return cause.errors.map(reasonOf).join(", ");
  return cause instanceof Error ? cause.message : String(cause);
}

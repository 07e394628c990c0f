/** The command line: flags in, errors and exit codes out. */

import { parseArgs } from "node:util";
import { Agent } from "./agent.js";
import { cancelAtProgress, leaveStream, showError } from "./cancellable.js";
import { grpcInterface } from "./card.js";
import { codeName, isServiceError } from "./errors.js";

const HELP = `Usage: npm start -- [options]

Starts a long task, follows its progress and cancels it half way; then asks for a task that is not there, and leaves
the stream of a second task. servers/cancellable.py has such tasks.

Options:
  --card URL              where the agent's card is; default: http://127.0.0.1:8080
  --cancel-at PROGRESS    0 to 1; default: 0.5
  --steps COUNT           how many steps the task has; default: 10
  --step-seconds SECONDS  how long each takes; default: 0.5
  --help                  show this`;

class UsageError extends Error {}

function parseFlags() {
  const { help, ...flags } = valuesOf(process.argv.slice(2));
  if (!URL.canParse(flags.card)) throw new UsageError(`--card: '${flags.card}' is not a URL`);
  return {
    help,
    card: flags.card,
    cancelAt: numberOf("--cancel-at", flags["cancel-at"], 0, 1),
    steps: numberOf("--steps", flags.steps, 1, 1e6, Number.isInteger),
    stepSeconds: numberOf("--step-seconds", flags["step-seconds"], 0, 3600),
  };
}

function valuesOf(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        card: { type: "string", default: "http://127.0.0.1:8080" },
        "cancel-at": { type: "string", default: "0.5" },
        steps: { type: "string", default: "10" },
        "step-seconds": { type: "string", default: "0.5" },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function numberOf(flag: string, text: string, least: number, most: number, fits = Number.isFinite): number {
  const number = text.trim() === "" ? NaN : Number(text);
  if (fits(number) && number >= least && number <= most) return number;
  const kind = fits === Number.isInteger ? "a whole number" : "a number";
  throw new UsageError(`${flag}: '${text}' is not ${kind} from ${least} to ${most}`);
}

async function main(): Promise<void> {
  const flags = parseFlags();
  if (flags.help) return console.log(HELP);
  const agent = new Agent(await grpcInterface(flags.card));
  try {
    await cancelAtProgress(agent, flags, flags.cancelAt);
    await showError(agent);
    await leaveStream(agent);
  } finally {
    agent.close();
  }
}

process.once("SIGINT", () => process.exit(130));
try {
  await main();
} catch (error) {
  const text = isServiceError(error) ? `${codeName(error)}: ${error.details}` : String((error as Error).message);
  console.error(`Error: ${text.replaceAll("\n", " ").trim()}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}

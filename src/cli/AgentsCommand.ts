/**
 * `arcp agents`: what a runtime serves.
 *
 * @since 0.1.0
 */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import * as ArcpClient from "../client/ArcpClient.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Printable from "./Printable.ts"
import * as RemoteRuntime from "./RemoteRuntime.ts"

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "agents",
  {
    ...RemoteRuntime.flags,
    json: Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("Print a JSON array"))
  },
  Effect.fn("arcp agents")(function* ({ json, ...remote }) {
    const agents = yield* ArcpClient.ArcpClient.use((client) => client.agents).pipe(
      Effect.provide(RemoteRuntime.layer(remote))
    )
    const sorted = agents.toSorted((a, b) => (a.name < b.name ? -1 : 1))
    if (json) return yield* Console.log(Printable.json(sorted, 2))
    if (sorted.length === 0) return yield* Console.error("The runtime serves no agents.")
    yield* Console.log(table([["NAME", "VERSIONS", "DEFAULT"], ...sorted.map(row)]))
  })
).pipe(
  Command.withDescription(
    "Lists the agents of a runtime: their names, their versions, and which version a bare name means."
  ),
  Command.withShortDescription("Lists the agents of a runtime"),
  Command.withExamples([
    { command: "arcp agents", description: "Those of the runtime on this machine" },
    { command: "arcp agents --url wss://agents.example.com --json", description: "Those of another, for a program" },
    { command: `arcp agents --stdio "arcp serve agents.ts --stdio"`, description: "Those of a module" }
  ])
)

const row = (agent: SessionMessage.AgentEntry): ReadonlyArray<string> =>
  [agent.name, agent.versions.join(" ") || "-", agent.default ?? "-"].map(Printable.line)

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = [0, 1].map((column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)))
  return rows
    .map((cells) =>
      cells
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

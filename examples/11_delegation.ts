/**
 * An agent that hands work on to others, and cannot give away more than it has.
 *
 * An editor has a dollar for an article. It delegates the facts to a researcher with 60 cents, and asks for as much again for a picture:
 * only 40 are left, so that is refused, as a typed error that the editor deals with. What the researcher does not spend comes back. The
 * client submits one job, and follows the whole family.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/runtime` for `../src/runtime/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Fiber, Layer, Option, Redacted, Schema, Stream } from "effect"
import * as Assert from "node:assert/strict"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { Amount, JobEvent } from "../src/protocol/index.ts"
import { Agent, ArcpServer, JobContext } from "../src/runtime/index.ts"
import { MemoryTransport } from "../src/transport/index.ts"

/** Finds one fact with each search. A search costs 20 cents, and needs the tool `search`. */
const Researcher = Agent.make({
  name: "researcher",
  version: "1.0.0",
  input: Schema.Struct({ topic: Schema.String, facts: Schema.Int }),
  output: Schema.Array(Schema.String)
})

const ResearcherLive = Researcher.toLayer(
  Effect.fnUntraced(function* ({ facts, topic }) {
    const job = yield* JobContext.JobContext
    const found: Array<string> = []
    for (let n = 1; n <= facts; n++) {
      found.push(yield* job.tool("search", { topic }, search(`fact ${n} about ${topic}`)))
      // Counted against the 60 cents at once; the next search would be refused if nothing were left.
      yield* job.metric("cost.search", 0.2, { unit: "USD" })
    }
    return found
  })
)

/** Takes its time. */
const search = (fact: string) => Effect.as(Effect.sleep("20 millis"), fact)

const Illustrator = Agent.make({ name: "illustrator", version: "1.0.0", input: Schema.String, output: Schema.String })

const IllustratorLive = Illustrator.toLayer((topic) => Effect.succeed(`a picture of ${topic}`))

const Editor = Agent.make({
  name: "editor",
  version: "1.0.0",
  input: Schema.String,
  output: Schema.Struct({ facts: Schema.Array(Schema.String), picture: Schema.OptionFromNullOr(Schema.String) })
})

const EditorLive = Editor.toLayer(
  Effect.fnUntraced(function* (topic) {
    const job = yield* JobContext.JobContext

    // A job of its own, under a part of the editor's lease. What it may spend is set aside from here on.
    const research = yield* job.delegate(
      Researcher,
      { topic, facts: 2 },
      { lease: { "tool.call": ["search"], "cost.budget": ["USD:0.60"] } }
    )
    yield* job.log("info", `while they search, ${yield* left} is left`)

    const picture = yield* job.delegate(Illustrator, topic, { lease: { "cost.budget": ["USD:0.60"] } }).pipe(
      Effect.flatMap((child) => child.result),
      Effect.asSome,
      Effect.catchTag("LeaseSubsetViolation", () => Effect.succeedNone)
    )
    const facts = yield* research.result
    yield* job.log("info", `when they are done, ${yield* left} is`)
    return { facts, picture }
  })
)

/** What the job that runs this has left, as text. */
const left = Effect.gen(function* () {
  const job = yield* JobContext.JobContext
  return Array.from(yield* job.budget, ([currency, value]) => Amount.format({ currency, value })).join(", ")
})

/** The line that an event makes in the output, for those that make one. */
const line = (event: JobEvent.JobEvent): Option.Option<string> => {
  if (JobEvent.is(event, "log")) return Option.some(event.body.message)
  if (JobEvent.is(event, "delegate")) return Option.some(`hands work to ${event.body.agent}`)
  if (JobEvent.is(event, "metric")) {
    return Option.some(`${event.body.name} ${event.body.value.toFixed(2)} ${event.body.unit}`)
  }
  if (JobEvent.is(event, "tool_result")) return Option.some(event.body.error?.message ?? String(event.body.result))
  return Option.none()
}

const show = (who: string, events: ReadonlyArray<JobEvent.JobEvent>) =>
  Effect.forEach(
    events.flatMap((event) => Option.toArray(line(event))),
    (text) => Console.log(`${who.padEnd(10)}  ${text}`),
    { discard: true }
  )

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const job = yield* client.submit(Editor, "bees", {
    lease: { "agent.delegate": ["*"], "tool.call": ["search"], "cost.budget": ["USD:1.00"] }
  })

  // Each child comes with what it says and what comes of it, as the job does.
  const family = yield* Effect.forkChild(
    job.children.pipe(
      Stream.mapEffect((child) =>
        Effect.all({
          agent: Effect.succeed(child.agent),
          events: Stream.runCollect(child.events),
          result: child.result
        })
      ),
      Stream.runCollect
    )
  )
  const events = yield* Stream.runCollect(job.events)
  const article = yield* job.result
  const children = yield* Fiber.join(family)

  yield* show("editor", events)
  for (const { agent, events } of children) yield* show(agent.split("@")[0]!, events)
  yield* Console.log(
    `the article has ${article.facts.length} facts, and ${Option.getOrElse(article.picture, () => "no picture")}`
  )

  Assert.deepEqual(article.facts, ["fact 1 about bees", "fact 2 about bees"])
  Assert.ok(Option.isNone(article.picture))
  // There is one child: the other was refused before it came to be, as a tool call that failed.
  Assert.deepEqual(
    children.map(({ agent, result }) => [agent, result]),
    [["researcher@1.0.0", article.facts]]
  )
  Assert.deepEqual(
    events.filter(JobEvent.is("tool_result")).map(({ body }) => body.error?.code),
    ["LEASE_SUBSET_VIOLATION"]
  )
  Assert.deepEqual(
    events.filter(JobEvent.is("log")).map(({ body }) => body.message),
    ["while they search, USD:0.4 is left", "when they are done, USD:0.6 is"]
  )
})

const token = Redacted.make("a token for this example")

const Live = ArcpClient.ArcpClient.layer({ token }).pipe(
  Layer.provide(ArcpServer.serve(Layer.mergeAll(EditorLive, ResearcherLive, IllustratorLive))),
  Layer.provide(Authenticator.layerStatic([{ token, principal: "me" }])),
  Layer.provide(MemoryTransport.layer)
)

program.pipe(Effect.provide(Live), NodeRuntime.runMain)

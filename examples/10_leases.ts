/**
 * One agent, three leases.
 *
 * The agent is written against the plain services of Effect: `FileSystem`, a `Toolkit`, `LanguageModel`. Nothing in it mentions a lease, a
 * check or a price. The host decides what stands behind these services; the client says with each submit what the job may do. So the same
 * code reads, looks up, thinks and writes as far as the lease of its job goes, and no further, and it is told in the errors of the services
 * that it uses anyway.
 *
 * The language model is a scripted one: it asks for a word to be looked up, and then answers with what it was told. A real one would be
 * the layer of a provider package in its place.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/runtime` for `../src/runtime/index.ts`, and so on.
 */
import { NodeFileSystem, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, FileSystem, Layer, Redacted, Result, Schema, Stream } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import * as Assert from "node:assert/strict"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { LeasedFileSystem, LeasedLanguageModel } from "../src/leased/index.ts"
import { NodeAnchoredFiles } from "../src/node/index.ts"
import { type Capability, JobEvent } from "../src/protocol/index.ts"
import { Agent, ArcpServer } from "../src/runtime/index.ts"
import { MemoryTransport } from "../src/transport/index.ts"

// ----------------------------------------------------------------------------------------- the agent: no word of leases

/** A tool for the model. A failure of it is returned to the model, which may find another way. */
const Glossary = Toolkit.make(
  Tool.make("glossary", {
    description: "Says what a word means",
    parameters: Schema.Struct({ word: Schema.String }),
    success: Schema.String,
    failureMode: "return"
  })
)

const GlossaryLive = Glossary.toLayer({
  glossary: ({ word }) => Effect.succeed(`${word}: authority that was lent, for a time and for a purpose`)
})

const Explain = Agent.make({
  name: "explain",
  input: Schema.Struct({ from: Schema.String, to: Schema.String }),
  output: Schema.String
})

/** Reads a text, has a model explain it, writes down the explanation. */
const ExplainLive = Explain.toLayer(
  Effect.fnUntraced(function* ({ from, to }) {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(from)

    const chat = yield* Chat.empty
    let answer = yield* chat.generateText({ prompt: `Explain: ${text}`, toolkit: Glossary })
    while (answer.finishReason === "tool-calls") {
      answer = yield* chat.generateText({ prompt: [], toolkit: Glossary })
    }

    yield* fs.writeFileString(to, answer.text)
    return answer.text
  })
).pipe(Layer.provide(GlossaryLive))

// ------------------------------------------------------------------------------------ the host: what the services stand for

/** Not a model, but the script of one: it looks the word up, and then says what it was told. */
const ScriptedModel = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: ({ prompt }) => {
      const usage = { inputTokens: { total: 1200 }, outputTokens: { total: 300 } }
      const results = prompt.content.flatMap(({ content }) =>
        typeof content === "string" ? [] : content.filter((part) => part.type === "tool-result")
      )
      const [found] = results
      if (found === undefined) {
        const call = { type: "tool-call" as const, id: "1", name: "glossary", params: { word: "lease" } }
        return Effect.succeed([call, { type: "finish", reason: "tool-calls", usage }])
      }
      const text = found.isFailure ? "A lease is what it says; I may not look it up." : String(found.result)
      return Effect.succeed([
        { type: "text", text },
        { type: "finish", reason: "stop", usage }
      ])
    },
    streamText: () => Stream.empty
  })
)

/** Under this id leases name the model, and by these prices the runtime tells what each request cost. */
const Models = LeasedLanguageModel.layer("acme/small", {
  prices: [{ model: "acme/*", currency: "USD", input: "0.15", output: "0.60" }]
}).pipe(Layer.provide(ScriptedModel))

/** Files are held while they are used, so that what the lease was asked about is what is read and written. */
const Files = LeasedFileSystem.layer().pipe(Layer.provide(NodeAnchoredFiles.layer), Layer.provide(NodeFileSystem.layer))

const token = Redacted.make("a token for this example")

const Live = ArcpClient.ArcpClient.layer({ token }).pipe(
  Layer.provide(ArcpServer.serve(ExplainLive)),
  Layer.provide([Models, Files]),
  Layer.provide(Authenticator.layerStatic([{ token, principal: "me" }])),
  Layer.provide(MemoryTransport.layer)
)

// -------------------------------------------------------------------------------------- the client: three different leases

const describe = (event: JobEvent.JobEvent): ReadonlyArray<string> => {
  if (JobEvent.is(event, "tool_call")) return [`calls ${event.body.tool} ${JSON.stringify(event.body.args)}`]
  if (JobEvent.is(event, "tool_result")) return [`  ${event.body.error?.message ?? JSON.stringify(event.body.result)}`]
  if (JobEvent.is(event, "metric")) return [`pays ${event.body.value} ${event.body.unit} for the model`]
  return []
}

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const host = yield* FileSystem.FileSystem
  const folder = yield* host.realPath(yield* host.makeTempDirectoryScoped())
  yield* host.writeFileString(`${folder}/text.txt`, "An agent works under a lease.")

  /** Runs the agent under a lease; gives what it answered, or why it could not, and what it wrote. */
  const explain = Effect.fnUntraced(function* (title: string, lease: Capability.Grants) {
    const to = `${folder}/${title.replaceAll(" ", "-")}.txt`
    yield* Console.log(`\n${title}`)
    const job = yield* client.submit(Explain, { from: `${folder}/text.txt`, to }, { lease })
    const seen = yield* Stream.runCollect(job.events)
    yield* Effect.forEach(seen.flatMap(describe), (line) => Console.log(`  ${line}`))
    const outcome = yield* Effect.result(job.result)
    const answer = Result.isSuccess(outcome) ? outcome.success : `${outcome.failure._tag}: ${outcome.failure.message}`
    yield* Console.log(`  => ${answer.replaceAll(folder, "")}`)
    return {
      answer,
      written: (yield* host.exists(to)) ? yield* host.readFileString(to) : undefined,
      paid: seen.filter(JobEvent.is("metric")).map(({ body }) => body.value)
    }
  })

  const read = { "fs.read": [`${folder}/**`] }
  const write = { "fs.write": [`${folder}/**`] }
  const model = { "model.use": ["acme/*"] }
  const tools = { "tool.call": ["glossary"] }

  const all = yield* explain("with everything", { ...read, ...write, ...model, ...tools })
  Assert.match(all.answer, /^lease: authority that was lent/)
  Assert.equal(all.written, all.answer)
  Assert.deepEqual(all.paid, [0.00036, 0.00036])

  // The tool does not run. The model hears of it and answers without, and the agent need not know.
  const untooled = yield* explain("without the tool", { ...read, ...write, ...model })
  Assert.equal(untooled.answer, "A lease is what it says; I may not look it up.")
  Assert.equal(untooled.written, untooled.answer)

  // The agent thinks, and pays for it, but cannot write down what it thought. It did not expect that, and the job ends with the reason.
  const readOnly = yield* explain("without writing", { ...read, ...model, ...tools })
  Assert.match(readOnly.answer, /^PermissionDenied: fs.write on /)
  Assert.equal(readOnly.written, undefined)
  Assert.deepEqual(readOnly.paid, all.paid)
})

program.pipe(Effect.scoped, Effect.provide(Live), Effect.provide(NodeFileSystem.layer), NodeRuntime.runMain)

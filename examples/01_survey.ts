/**
 * A survey of a source tree, over a real WebSocket: `npm start`, or `npm start -- <directory>`.
 *
 * It teaches the whole round. A runtime serves two agents on a port of the loopback interface; a client submits a job with a lease for
 * exactly one directory, shows what the job says while it runs, and gets a typed report. Then it asks for what the lease does not cover.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/runtime` for `../src/runtime/index.ts`, and so on.
 */
import { NodeFileSystem, NodeRuntime } from "@effect/platform-node"
import { Data, Duration, Effect, Layer, Redacted, Result, Runtime, Stream } from "effect"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { LeasedFileSystem } from "../src/leased/index.ts"
import { NodeAnchoredFiles, NodeWebSocketDialer, NodeWebSocketListener } from "../src/node/index.ts"
import { ArcpError } from "../src/protocol/index.ts"
import { ArcpServer } from "../src/runtime/index.ts"
import { recount } from "./survey/Recount.ts"
import * as Screen from "./survey/Screen.ts"
import { Peek, PeekLive, type Report, Survey, SurveyLive } from "./survey/SurveyAgent.ts"

const token = Redacted.make(randomBytes(16).toString("hex"))

/** The runtime: agents, the files that it offers them, who may connect, and where. */
const Server = ArcpServer.serve(Layer.merge(SurveyLive, PeekLive)).pipe(
  Layer.provide(LeasedFileSystem.layer()),
  Layer.provide(NodeAnchoredFiles.layer),
  Layer.provide(NodeFileSystem.layer),
  Layer.provide(Authenticator.layerStatic([{ token, principal: "you" }])),
  Layer.provideMerge(NodeWebSocketListener.layer())
)

/** The client: it knows a URL and a token, nothing else of the runtime. */
const Client = Layer.unwrap(
  Effect.map(NodeWebSocketListener.Address, ({ url }) =>
    ArcpClient.ArcpClient.layer({ token }).pipe(Layer.provide(NodeWebSocketDialer.layer({ url })))
  )
)

const program = Effect.gen(function* () {
  const root = yield* directory(process.argv[2] ?? Path.join(import.meta.dirname, ".."))
  const { url } = yield* NodeWebSocketListener.Address
  const client = yield* ArcpClient.ArcpClient
  const { runtime } = yield* client.session

  yield* Screen.title("A survey, under a lease")
  yield* Screen.table(
    [
      ["runtime", `${runtime.name} ${runtime.version} at ${url}`],
      ["agents", (yield* client.agents).map(({ name }) => name).join(", ")],
      ["lease", `fs.read ${root}/**`],
      ["", "tool.call list, read"]
    ],
    [Screen.dim]
  )
  yield* Screen.say()

  const [took, { events, report }] = yield* Effect.timed(survey(root))
  yield* show(report)
  yield* compare(report, root)
  yield* Screen.say(
    Screen.dim(
      `${events.toLocaleString("en")} events in ${Duration.format(Duration.millis(Math.round(Duration.toMillis(took))))}`
    )
  )

  yield* denials
  yield* Screen.say()
})

/** Submits the job, draws its events as they come, and awaits its report. */
const survey = Effect.fn(function* (root: string) {
  const client = yield* ArcpClient.ArcpClient
  const screen = Screen.make()
  const job = yield* client.submit(
    Survey,
    { root },
    { lease: { "fs.read": [`${root}/**`], "tool.call": ["list", "read"] } }
  )
  const events = yield* job.events.pipe(Stream.tap(screen.draw), Stream.runCount, Effect.ensuring(screen.clear))
  return { events, report: yield* job.result }
})

const show = Effect.fn(function* (report: Report) {
  const { bytes, files, folders, imports, lines, links, longest, todos } = report
  const most = Math.max(...folders.map((folder) => folder.lines), 1)
  const top = folders.slice(0, 12)
  yield* Screen.title("Where the lines are")
  yield* Screen.table(
    [
      ["folder", "files", "lines"],
      ...top.map(({ files, folder, lines }) => [folder, files, lines, Screen.bar(lines / most, 24)]),
      ...(folders.length > top.length ? [[`and ${folders.length - top.length} more`]] : []),
      ["in all", files, lines, `${(bytes / 1024).toFixed(0)} KiB`]
    ],
    [(text) => text, Screen.dim, (text) => text, Screen.good]
  )
  yield* Screen.title("What stands out")
  yield* Screen.table(
    [
      ...longest.map(({ lines, path }, at) => [at === 0 ? "longest" : "", `${path} (${lines.toLocaleString("en")})`]),
      [
        "imported",
        imports
          .slice(0, 5)
          .map(({ files, module }) => `${module} (${files})`)
          .join(", ") || "nothing"
      ],
      [
        "to do",
        todos
          .slice(0, 3)
          .map(({ line, path }) => `${path}:${line}`)
          .join(", ") || "nothing"
      ],
      ...(links.length > 0 ? [["links", `${links.slice(0, 3).join(", ")}, left alone`]] : [])
    ],
    [Screen.dim]
  )
  yield* Screen.say()
})

/** The report against a count that knows nothing of agents, and against itself. */
const compare = Effect.fn(function* (report: Report, root: string) {
  const { bytes, files, lines, longest } = recount(root)
  const total = (of: "files" | "lines") => report.folders.reduce((sum, folder) => sum + folder[of], 0)
  yield* expect("files", report.files, files)
  yield* expect("lines", report.lines, lines)
  yield* expect("bytes", report.bytes, bytes)
  yield* expect("lines of the longest file", report.longest[0]?.lines ?? 0, longest)
  yield* expect("files of all folders", total("files"), files)
  yield* expect("lines of all folders", total("lines"), lines)
  yield* Screen.agrees("a second count, with plain node:fs, agrees")
})

/** A tree with a secret beside it, ways that lead to the secret, and a lease for the tree alone. */
const denials = Effect.gen(function* () {
  const place = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "arcp-")))),
    (place) => Effect.sync(() => Fs.rmSync(place, { recursive: true }))
  )
  const secret = randomBytes(16).toString("hex")
  Fs.writeFileSync(`${place}/secret.txt`, secret)
  Fs.mkdirSync(`${place}/tree`)
  Fs.writeFileSync(`${place}/tree/notes.txt`, "nothing special\n")
  Fs.symlinkSync("notes.txt", `${place}/tree/link-inside`)
  Fs.symlinkSync("../secret.txt", `${place}/tree/link-outside`)

  yield* Screen.title(`Under a lease for ${Path.join(Path.basename(place), "tree/**")}`)
  yield* Screen.table(
    [
      ["tree/notes.txt", "a file of the tree", yield* peek(place, "tree/notes.txt", secret, "read")],
      ["tree/link-inside", "a link to notes.txt", yield* peek(place, "tree/link-inside", secret, "read")],
      ["secret.txt", "a file beside the tree", yield* peek(place, "secret.txt", secret, "PERMISSION_DENIED")],
      [
        "tree/../secret.txt",
        "the same, in other words",
        yield* peek(place, "tree/../secret.txt", secret, "PERMISSION_DENIED")
      ],
      [
        "tree/link-outside",
        "a link to ../secret.txt",
        yield* peek(place, "tree/link-outside", secret, "PERMISSION_DENIED")
      ]
    ],
    [(text) => text, Screen.dim, (text) => (text.startsWith("read") ? Screen.good(text) : Screen.warn(text))]
  )
  yield* Screen.say()
  yield* Screen.agrees("what was outside was denied, and nothing of it came back")
}).pipe(Effect.scoped)

/** Asks for a file; the answer has to be the expected one, and nothing that comes back may hold the secret. */
const peek = Effect.fn(function* (place: string, path: string, secret: string, expected: string) {
  const client = yield* ArcpClient.ArcpClient
  const job = yield* client.submit(Peek, { path: `${place}/${path}` }, { lease: { "fs.read": [`${place}/tree/**`] } })
  const result = yield* Effect.result(job.result)
  const heard = JSON.stringify([yield* Stream.runCollect(job.events), result])
  const answer = Result.isSuccess(result) ? "read" : ArcpError.code(result.failure)
  yield* expect(`the answer for ${path}`, answer, expected)
  yield* expect(`the secret in the answer for ${path}`, heard.includes(secret), false)
  return answer
})

class Unexpected extends Data.TaggedError("Unexpected")<{ readonly message: string }> {
  /** It is shown below; a stack would say no more. */
  override readonly [Runtime.errorReported] = false
}

const expect = <A>(what: string, actual: A, expected: A) =>
  actual === expected ? Effect.void : new Unexpected({ message: `${what}: ${actual}, expected ${expected}` })

/** The real path of a directory, since leases name real places. A `*` in it would be a wildcard in the lease. */
const directory = Effect.fn(function* (path: string) {
  const real = yield* Effect.try({
    try: () => Fs.realpathSync(path),
    catch: () => new Unexpected({ message: `${path} does not exist` })
  })
  if (real.includes("*") || !Fs.statSync(real).isDirectory()) {
    return yield* new Unexpected({ message: `${real} is not a directory that can be surveyed` })
  }
  return real
})

program.pipe(
  Effect.catchTag("TreeTooLarge", ({ message }) => new Unexpected({ message })),
  Effect.tapErrorTag("Unexpected", ({ message }) => Screen.say(Screen.warn(`✗ ${message}`))),
  Effect.provide(Client),
  Effect.provide(Server),
  NodeRuntime.runMain
)

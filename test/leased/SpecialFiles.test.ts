import { describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as Sandbox from "./Sandbox.ts"

const bytes = new Uint8Array([1])

describe.each(Sandbox.kinds)("Special files under a lease, %s", (kind) => {
  const leased = Sandbox.leasedOn(kind)

  it.effect(
    "a pipe is not opened: its reader would hold a thread of the host until somebody writes",
    Sandbox.inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all, { raw: host })
        const pipe = `${ws}/pipe`
        execFileSync("mkfifo", [pipe])
        yield* host.symlink("pipe", `${ws}/to-pipe`)
        for (const path of [pipe, `${ws}/to-pipe`]) {
          yield* Sandbox.refusal(fs.readFile(path))
          yield* Sandbox.refusal(fs.readFileString(path))
          yield* Sandbox.refusal(fs.writeFile(path, bytes))
          yield* Sandbox.refusal(fs.truncate(path, 0))
          yield* Sandbox.refusal(fs.copyFile(path, `${ws}/copy`))
          yield* Sandbox.refusal(fs.copyFile(`${ws}/a.txt`, path))
          yield* Sandbox.refusal(fs.open(path, { flag: "r" }))
          yield* Sandbox.refusal(Stream.runDrain(fs.stream(path)))
          yield* Sandbox.refusal(Stream.run(Stream.make(bytes), fs.sink(path)))
        }
        yield* Sandbox.refusal(fs.open(pipe, { flag: "r", noFollow: true }))
      })
    )
  )

  it.effect(
    "a device is not read: it need not end",
    Sandbox.inside(({ host }) =>
      Effect.gen(function* () {
        const fs = yield* leased({ "fs.read": ["/dev/**"] }, { raw: host })
        yield* Sandbox.refusal(fs.readFile("/dev/zero"))
        yield* fs.stat("/dev/zero")
      })
    )
  )
})

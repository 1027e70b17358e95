import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import * as L from "/work/main/src/node/NodeWebSocketListener.ts"
const B = Number(process.argv[2] ?? 64)
Effect.gen(function*() {
  const { address, listen } = yield* L.make({ port: 0 })
  yield* listen((frames) => Effect.gen(function*() {
    const text = "x".repeat(300)
    const batch = Array.from({ length: B }, () => text) as unknown as [string, ...string[]]
    const t = performance.now(), c = process.cpuUsage()
    for (let i = 0; i < 2_000_000; i += B) yield* frames.send(batch)
    const u = process.cpuUsage(c)
    console.error("server cpu us/frame", (u.user + u.system) / 2_000_000, "ms", performance.now() - t)
    yield* Effect.forever(frames.pull)
  }).pipe(Effect.ignore))
  console.log(address.url)
  yield* Effect.never
}).pipe(Effect.scoped, NodeRuntime.runMain)

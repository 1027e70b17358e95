import { Effect } from "effect"
import { Socket } from "effect/socket"
import * as D from "/work/main/src/node/NodeWebSocketDialer.ts"
import * as W from "/work/main/src/transport/WebSocketTransport.ts"
const url = process.argv[2]!
const run = (name: string, dial: any) => Effect.gen(function*() {
  const line: any = yield* dial
  let n = 0, t = 0
  const c = process.cpuUsage()
  while (n < 1_990_000) { const b: any = yield* line.pull; if (n === 0) t = performance.now(); n += b.length }
  const u = process.cpuUsage(c)
  console.log(name, Math.round(n / (performance.now() - t)), "k frames/s; client cpu us/frame", (u.user + u.system) / n)
}).pipe(Effect.scoped)
await Effect.runPromise(run("node dialer", D.dial({ url })) as any)
await Effect.runPromise(run("platform dialer", Effect.provide(W.dial({ url }), Socket.layerWebSocketConstructorGlobal)) as any)
await Effect.runPromise(run("node dialer", D.dial({ url })) as any)
process.exit(0)

import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Agents from "./Agents.ts"
import * as Drive from "./Drive.ts"
import * as Workload from "./Workload.ts"
const token = Redacted.make(Workload.token)
const network = Effect.runSync(MemoryTransport.make())
const runtime = ManagedRuntime.make(
  Layer.merge(
    ArcpServer.serve(Agents.layer).pipe(Layer.provide(Authenticator.layerStatic([{ token, principal: "bench" }]))),
    ArcpClient.ArcpClient.layer({ token })
  ).pipe(Layer.provide(MemoryTransport.layerNetwork(network)))
)
const mode = process.argv[2] ?? "raw"
const N = Number(process.argv[3] ?? 20000),
  W = 64
const raw = Effect.gen(function* () {
  const line = yield* network.dial
  yield* line.send([JSON.stringify(Workload.helloFrame("msg_1"))])
  let frames = yield* line.pull
  const session = JSON.parse(frames[0]!).session_id
  let sent = 0,
    done = 0
  const submit = () =>
    JSON.stringify(Workload.submitFrame(session, `msg_${++sent + 10}`, Workload.Echo, Workload.echoInput))
  const t = performance.now()
  const c = process.cpuUsage()
  yield* line.send(Array.from({ length: W }, submit) as never)
  while (done < N) {
    frames = yield* line.pull
    let more = 0
    for (const f of frames)
      if (f.includes('"type":"job.result"')) {
        done++
        more++
      }
    if (more > 0 && sent < N) yield* line.send(Array.from({ length: Math.min(more, N - sent) }, submit) as never)
  }
  const cpu = process.cpuUsage(c)
  return [(N / (performance.now() - t)) * 1000, (cpu.user + cpu.system) / N]
})
for (let round = 0; round < 4; round++) {
  if (mode === "raw") console.log(await runtime.runPromise(Effect.scoped(raw) as never))
  else {
    const c = process.cpuUsage()
    const rate = await runtime.runPromise(Drive.inFlight(N, W))
    const cpu = process.cpuUsage(c)
    console.log(rate, (cpu.user + cpu.system) / N)
  }
}
const T = (globalThis as any).T
for (const k in T) console.log(k.padEnd(30), ((T[k] / N / 4) * 1000).toFixed(2))
process.exit(0)

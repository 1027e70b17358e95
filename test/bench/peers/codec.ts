/**
 * The codec, and the JSON that it stands on.
 */
import { Result } from "effect"
import * as Codec from "../../../src/protocol/Codec.ts"
import * as Peer from "../Peer.ts"
import * as Timing from "../Timing.ts"
import * as Workload from "../Workload.ts"

const id = "msg_01JZBENCH000000000000000AA"
const session = "sess_01JZBENCH0000000000000000A"
const body = Workload.eventBody()
const frame = Workload.eventFrame(100_001, id)
const submit = Workload.submitFrame(session, id, Workload.Echo, Workload.echoInput)

// Several texts, so that no parser can remember the one.
const events = Array.from({ length: 64 }, (_, index) => Workload.encodeEvent(100_001 + index, body))
const submits = Array.from({ length: 64 }, (_, index) => JSON.stringify({ ...submit, id: `msg_bench_${index}` }))

const event = Result.getOrThrow(Codec.decodeFromRuntime(events[0]!))
const request = Result.getOrThrow(Codec.decodeFromClient(submits[0]!))
if (event.type !== "job.event" || request.type !== "job.submit") throw new Error("the frames are not what they seem")

const check = (holds: boolean) => {
  if (!holds) throw new Error("a frame came out wrong")
}

const commands = {
  codec: ({ millis }: { readonly millis: number }) => ({
    decodeEvent: Timing.rate(millis, (index) => check(Result.isSuccess(Codec.decodeFromRuntime(events[index & 63]!)))),
    encodeEvent: Timing.rate(millis, (index) => check(Workload.encodeEvent(index, body).length > 200)),
    decodeSubmit: Timing.rate(millis, (index) => check(Result.isSuccess(Codec.decodeFromClient(submits[index & 63]!)))),
    encodeSubmit: Timing.rate(millis, () => check(Codec.encode(request).length > 100))
  }),
  json: ({ millis }: { readonly millis: number }) => ({
    decodeEvent: Timing.rate(millis, (index) => check(JSON.parse(events[index & 63]!) !== null)),
    encodeEvent: Timing.rate(millis, () => check(JSON.stringify(frame).length > 200)),
    decodeSubmit: Timing.rate(millis, (index) => check(JSON.parse(submits[index & 63]!) !== null)),
    encodeSubmit: Timing.rate(millis, () => check(JSON.stringify(submit).length > 100))
  })
}

export type Commands = typeof commands

Peer.serve(commands)

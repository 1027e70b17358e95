/** No secret in any log, span, metric, error, listing or observer's stream. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Schema } from "effect"
import * as Util from "node:util"
import * as JobContext from "../../src/runtime/JobContext.ts"
import { verifies } from "../conformance/verifies.ts"
import * as SecretScenario from "./SecretScenario.ts"
import * as SecretSearch from "./SecretSearch.ts"

/** Where a secret may be, and is: on its way to whom it is for, and in a client's own memory of how to resume. */
const rightful = [
  "token of ada in what ada sends",
  "token of board in what board sends",
  "token of eve in what eve sends",
  "token of stranger in what stranger sends",
  "resume token of ada in what ada is sent",
  "resume token of ada in what ada sends",
  "resume token of board in what board is sent",
  "resume token of eve in what eve is sent",
  "resume token of ada in kept sessions",
  "resume token of board in kept sessions",
  "resume token of eve in kept sessions",
  // The board is of the same principal, and subscribed when this was the value.
  "first in what ada is sent",
  "first in what board is sent",
  "rotated in what ada is sent",
  "child in what ada is sent",
  "failing in what ada is sent",
  "not rotated in what ada is sent"
]

/** An agent that hands its secret to whatever takes it, each time in another form. */
const careless: SecretScenario.Mistake = (value) =>
  Effect.gen(function* () {
    const job = yield* JobContext.JobContext
    yield* Effect.logTrace(`the token is ${Buffer.from(`Bearer ${value}`).toString("base64")}`)
    yield* Effect.annotateCurrentSpan({ url: `https://gateway.example/?token=${encodeURIComponent(value)}` })
    yield* Metric.update(Metric.counter("calls", { attributes: { token: Buffer.from(value).toString("hex") } }), 1)
    yield* job.log("info", JSON.stringify({ value }))
  }).pipe(Effect.withSpan("careless"))

const leaked = ["logs", "spans", "metrics", "journals", "what programs see", "what board is sent", "what eve is sent"]

describe("Secrets", () => {
  for (const transport of ["memory", "websocket"] as const) {
    verifies.live(["C-133", "C-044"], `stay where they belong over ${transport}, whatever goes wrong`, () =>
      Effect.gen(function* () {
        const { secrets, sinks } = yield* SecretScenario.play(transport)
        for (const [sink, texts] of Object.entries(sinks)) assert.isAbove(texts.join("").length, 100, sink)
        assert.deepStrictEqual(SecretSearch.found(secrets, sinks), rightful.toSorted())
      })
    )
  }

  it.live("are found where an agent leaves them", () =>
    Effect.gen(function* () {
      const { secrets, sinks } = yield* SecretScenario.play("memory", careless)
      const expected = [...rightful, ...leaked.map((sink) => `rotated in ${sink}`)]
      assert.deepStrictEqual(SecretSearch.found(secrets, sinks), expected.toSorted())
    })
  )

  it.prop(
    "are found in each form, whatever stands around them",
    [Schema.String, Schema.String, Schema.String.check(Schema.isMinLength(4))],
    ([before, after, secret]) => {
      // Half of a pair is no text that could be sent.
      const [head, tail, hidden] = [before, after, `k3y/+"\\ö${secret}`].map((text) => text.toWellFormed()) as [
        string,
        string,
        string
      ]
      const text = head + hidden + tail
      const encoded = [
        text,
        JSON.stringify({ text }),
        JSON.stringify([JSON.stringify({ text: JSON.stringify(text) })]),
        Util.inspect({ text: JSON.stringify(text) }, { maxStringLength: null }),
        encodeURIComponent(text),
        encodeURIComponent(text).replace(/%../g, (byte) => byte.toLowerCase()),
        encodeURI(text),
        Buffer.from(text).toString("base64"),
        Buffer.from(text).toString("base64url"),
        Buffer.from(text).toString("hex")
      ]
      for (const form of encoded) assert.isDefined(SecretSearch.formIn(form, hidden), form)
      assert.isUndefined(SecretSearch.formIn("k3y and other words", hidden))
    }
  )
})

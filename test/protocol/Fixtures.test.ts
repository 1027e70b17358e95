/**
 * The examples of the draft and what other peers really send, through the codec. `fixtures/{session,job,events}.json` hold
 * frames in the form that we send ourselves: they come back as they went in. `completed` marks those where the draft left
 * members out or elided them, and plausible ones were put in. `fixtures/dialects.json` holds what differs from that form,
 * with what it must be read as: there an envelope member that is `null` must be absent.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Codec from "../../src/protocol/Codec.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import * as Message from "../../src/protocol/Message.ts"
import dialectsJson from "./fixtures/dialects.json" with { type: "json" }
import eventsJson from "./fixtures/events.json" with { type: "json" }
import jobJson from "./fixtures/job.json" with { type: "json" }
import sessionJson from "./fixtures/session.json" with { type: "json" }

const JsonObject = Schema.Record(Schema.String, Schema.Json)

/** Who sends the frame. */
const Direction = Schema.Literals(["client", "runtime"])

const Fixture = Schema.Struct({
  name: Schema.NonEmptyString,
  section: Schema.String.check(Schema.isPattern(/^§/)),
  direction: Direction,
  completed: Schema.optionalKey(Schema.Boolean),
  frame: JsonObject
})

const dialect = {
  name: Schema.NonEmptyString,
  peer: Schema.Literals(["TS", "CS", "GO", "PY", "JV", "FS", "RB", "draft", "any"]),
  direction: Direction,
  frame: JsonObject
}

const Accepted = Schema.Struct({
  ...dialect,
  expect: Schema.StructWithRest(
    Schema.Struct({ payload: Schema.optionalKey(JsonObject), payloadHas: Schema.optionalKey(JsonObject) }),
    [JsonObject]
  )
})

const Refused = Schema.Struct({
  ...dialect,
  /** The field that the refusal names. */
  refused: Schema.NonEmptyString
})

const read = <S extends Schema.Codec<unknown, unknown>>(schema: S, json: unknown): ReadonlyArray<S["Type"]> =>
  Schema.decodeUnknownSync(Schema.Array(schema), { onExcessProperty: "error" })(json)

const fixtures = [...read(Fixture, sessionJson), ...read(Fixture, jobJson), ...read(Fixture, eventsJson)]
const isRefused = (entry: object) => "refused" in entry
const accepted = read(
  Accepted,
  dialectsJson.filter((entry) => !isRefused(entry))
)
const refused = read(Refused, dialectsJson.filter(isRefused))

const decode = (
  direction: typeof Direction.Type,
  frame: unknown
): Result.Result<Message.FromClient | Message.FromRuntime, Codec.BadFrame> => {
  const text = JSON.stringify(frame)
  return direction === "client" ? Codec.decodeFromClient(text) : Codec.decodeFromRuntime(text)
}

/** What a frame reads as, in JSON again so that secrets can be compared. */
const reencode = (direction: typeof Direction.Type, frame: unknown): Schema.JsonObject => {
  const message = Result.getOrElse(decode(direction, frame), (bad) => assert.fail(bad.error.message))
  return JSON.parse(Codec.encode(message))
}

const typesOf = (direction: typeof Direction.Type) =>
  fixtures.filter((fixture) => fixture.direction === direction).map(({ frame }) => frame["type"])

describe("fixtures", () => {
  describe("come back as they went in", () => {
    for (const { name, section, direction, frame } of fixtures) {
      it(`${section} ${name}`, () => {
        assert.deepStrictEqual(reencode(direction, frame), frame)
      })
    }
  })

  it("there is one for each message that a client says", () => {
    assert.sameMembers(Array.from(new Set(typesOf("client"))), Object.keys(Message.fromClient))
  })

  it("there is one for each message that a runtime says", () => {
    assert.sameMembers(Array.from(new Set(typesOf("runtime"))), Object.keys(Message.fromRuntime))
  })

  it("there is one for each kind of event, and for a vendor's", () => {
    const kinds = read(
      Schema.Struct({ kind: Schema.String }),
      eventsJson.map(({ frame }) => ({ kind: frame.payload.kind }))
    )
    assert.sameMembers(Array.from(new Set(kinds.map(({ kind }) => (JobEvent.isVendorKind(kind) ? "vendor" : kind)))), [
      ...Object.keys(JobEvent.bodies),
      "vendor"
    ])
  })

  it("no two share a name", () => {
    const names = [...fixtures, ...accepted, ...refused].map((entry) => entry.name)
    assert.deepStrictEqual(
      names.filter((name, index) => names.indexOf(name) !== index),
      []
    )
  })
})

describe("dialects", () => {
  for (const { name, peer, direction, frame, expect } of accepted) {
    it(`${peer}: ${name}`, () => {
      const { payload, payloadHas, ...envelope } = expect
      const message = reencode(direction, frame)
      for (const [member, value] of Object.entries(envelope)) {
        assert.deepStrictEqual(message[member] ?? null, value, member)
      }
      if (payload !== undefined) assert.deepStrictEqual(message["payload"], payload)
      if (payloadHas !== undefined) assert.deepInclude(message["payload"], payloadHas)
    })
  }

  for (const { name, peer, direction, frame, refused: field } of refused) {
    it(`${peer}: ${name} is refused, and the refusal names ${field}`, () => {
      const bad = Result.getOrElse(Result.flip(decode(direction, frame)), () => assert.fail("was accepted"))
      assert.strictEqual(bad.error._tag, "InvalidRequest")
      assert.strictEqual(bad.error.details?.["field"], field)
      assert.isTrue(bad.error.message.startsWith(`${field}: `), bad.error.message)
    })
  }
})

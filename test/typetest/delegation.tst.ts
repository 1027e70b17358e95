import { type Effect, Schema, type Stream } from "effect"
import { describe, expect, test } from "tstyche"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import type * as JobEvent from "../../src/protocol/JobEvent.ts"
import type * as Json from "../../src/protocol/Json.ts"
import type * as Delegation from "../../src/runtime/Delegation.ts"

class Sad extends Schema.TaggedError<Sad>("Sad")("Sad", {}) {}

const Greeter = AgentContract.make({
  name: "greeter",
  input: Schema.Struct({ name: Schema.String, born: Schema.DateFromString }),
  output: Schema.DateFromString,
  error: Sad
})

declare const delegate: Delegation.Delegate

describe("delegate", () => {
  test("speaks the types of a contract", () => {
    expect(delegate(Greeter, { name: "Ada", born: new Date() })).type.toBe<
      Effect.Effect<Delegation.Delegated<Date, Sad>, Delegation.DelegateError>
    >()
    expect<Delegation.Delegated<Date, Sad>["result"]>().type.toBe<Effect.Effect<Date, Sad | ArcpError.ArcpError>>()
    expect(delegate).type.not.toBeCallableWith(Greeter, { name: "Ada" })
  })

  test("speaks JSON by name", () => {
    expect(delegate("greeter", { name: "Ada" })).type.toBe<
      Effect.Effect<Delegation.Delegated<Json.Json>, Delegation.DelegateError>
    >()
    expect<Delegation.Delegated<Json.Json>["events"]>().type.toBe<
      Stream.Stream<JobEvent.JobEvent, ArcpError.ResumeWindowExpired>
    >()
    expect(delegate).type.not.toBeCallableWith("greeter", () => 1)
  })

  test("takes a lease, an end, a limit, and whether the child may stay behind", () => {
    expect(delegate).type.toBeCallableWith("greeter", null, {
      lease: { "fs.read": ["/a/**"] },
      expiresAt: "2030-01-01T00:00:00Z",
      maxRuntime: "5 minutes",
      detached: true
    })
    expect(delegate).type.not.toBeCallableWith("greeter", null, { budget: 1 })
  })
})

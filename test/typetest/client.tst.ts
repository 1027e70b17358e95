import { Context, type DateTime, Effect, type Layer, Redacted, Schedule, Schema, type Scope, type Stream } from "effect"
import type { KeyValueStore } from "effect/persistence"
import { describe, expect, test } from "tstyche"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as ClientError from "../../src/client/ClientError.ts"
import type * as ConnectionState from "../../src/client/ConnectionState.ts"
import type * as ChildJob from "../../src/client/ChildJob.ts"
import type * as FollowedJob from "../../src/client/FollowedJob.ts"
import type * as JobHandle from "../../src/client/JobHandle.ts"
import type * as JobListing from "../../src/client/JobListing.ts"
import type * as JobObserver from "../../src/client/JobObserver.ts"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as JobEvent from "../../src/protocol/JobEvent.ts"
import type * as Json from "../../src/protocol/Json.ts"
import type * as Dialer from "../../src/session/Dialer.ts"

class Sad extends Schema.TaggedError<Sad>("test/Sad")("Sad", { why: Schema.String }) {}

class Calendar extends Context.Service<Calendar, { readonly today: number }>()("test/Calendar") {}
declare const Dated: Schema.Codec<Date, string, Calendar, never>

const Plain = AgentContract.make({ name: "plain", input: Schema.FiniteFromString, output: Schema.String })
const Moody = AgentContract.make({ name: "moody", input: Schema.Null, output: Dated, error: Sad })

declare const client: ArcpClient.ArcpClient["Service"]

describe("submit", () => {
  test("by contract: the handle has the types of the contract", () => {
    expect(client.submit(Plain, 5)).type.toBe<
      Effect.Effect<JobHandle.JobHandle<string, never>, ClientError.SubmitError>
    >()
    expect(client.submit(Moody, null)).type.toBe<
      Effect.Effect<JobHandle.JobHandle<Date, Sad>, ClientError.SubmitError, Calendar>
    >()
    expect(client.submit).type.not.toBeCallableWith(Plain, "5")
  })

  test("by name: everything is JSON", () => {
    expect(client.submit("plain@1.0.0", { a: [1] }, { maxRuntime: "1 minute" })).type.toBe<
      Effect.Effect<JobHandle.JobHandle<Json.Json>, ClientError.SubmitError>
    >()
    expect(client.submit).type.not.toBeCallableWith("plain", 5n)
    expect(client.submit).type.not.toBeCallableWith("plain", 5, { leese: {} })
  })
})

describe("run", () => {
  test("gives the result, and fails as a submit or as the job", () => {
    expect(client.run(Plain, 5)).type.toBe<Effect.Effect<string, ArcpError.ArcpError>>()
    expect(client.run(Moody, null)).type.toBe<Effect.Effect<Date, Sad | ArcpError.ArcpError, Calendar>>()
    expect(client.run("plain", 5)).type.toBe<Effect.Effect<Json.Json, ArcpError.ArcpError>>()
  })
})

describe("a handle", () => {
  const handle = {} as JobHandle.JobHandle<Date, Sad>

  test("has its children, whose results are JSON", () => {
    expect(handle.children).type.toBe<Stream.Stream<ChildJob.ChildJob, ClientError.EventsError>>()
    expect<ChildJob.ChildJob["result"]>().type.toBe<Effect.Effect<Json.Json, ArcpError.ArcpError>>()
  })

  test("its children and those who observe it have what everybody has who follows a job", () => {
    expect<JobHandle.JobHandle<Date, Sad>>().type.toBeAssignableTo<FollowedJob.FollowedJob<Date, Sad>>()
    expect<JobObserver.JobObserver<Date, Sad>>().type.toBeAssignableTo<FollowedJob.FollowedJob<Date, Sad>>()
    expect<ChildJob.ChildJob>().type.toBeAssignableTo<FollowedJob.FollowedJob<Json.Json>>()
    expect<ChildJob.ChildJob["content"]>().type.toBe<Stream.Stream<Uint8Array, ArcpError.ArcpError>>()
  })

  test("needs no services, whatever the schemas needed", () => {
    expect(handle.result).type.toBe<Effect.Effect<Date, Sad | ArcpError.ArcpError>>()
    expect(handle.events).type.toBe<Stream.Stream<JobEvent.JobEvent, ClientError.SessionLost>>()
    expect(handle.cancel()).type.toBe<Effect.Effect<void, ClientError.CancelError>>()
    expect(handle.acceptedAt).type.toBe<DateTime.Utc>()
  })

  test("can stand for one of wider types", () => {
    expect<JobHandle.JobHandle<string, Sad>>().type.toBeAssignableTo<
      JobHandle.JobHandle<string | number, Sad | Error>
    >()
    expect<JobHandle.JobHandle<string | number>>().type.not.toBeAssignableTo<JobHandle.JobHandle<string>>()
  })

  test("a declared error is caught by its tag", () => {
    expect(Effect.catchTag(handle.result, "Sad", (error) => Effect.succeed(error.why))).type.toBe<
      Effect.Effect<Date | string, ArcpError.ArcpError>
    >()
  })
})

describe("a job of another session", () => {
  test("is read as its contract says, for as long as the scope is open", () => {
    expect(client.attach(Plain, "job_1")).type.toBe<
      Effect.Effect<JobObserver.JobObserver<string, never>, ClientError.SubscribeError, Scope.Scope>
    >()
    expect(client.attach(Moody, "job_1")).type.toBe<
      Effect.Effect<JobObserver.JobObserver<Date, Sad>, ClientError.SubscribeError, Calendar | Scope.Scope>
    >()
    expect(client.subscribe("job_1", { history: true })).type.toBe<
      Effect.Effect<JobObserver.JobObserver<Json.Json>, ClientError.SubscribeError, Scope.Scope>
    >()
    expect(client.attach).type.not.toBeCallableWith("plain", "job_1")
  })

  test("is found by listing", () => {
    expect(client.jobs({ status: ["running"], pageSize: 10 })).type.toBe<
      Stream.Stream<JobListing.JobListing, ClientError.ListError>
    >()
    expect(client.jobs).type.not.toBeCallableWith({ status: ["done"] })
  })
})

describe("the connection", () => {
  test("is observed", () => {
    expect(client.state).type.toBe<Stream.Stream<ConnectionState.ConnectionState>>()
  })

  test("is dialled again as a schedule says", () => {
    const token = Redacted.make("t")
    expect(ArcpClient.ArcpClient.layer).type.toBeCallableWith({ token, reconnect: Schedule.recurs(3) })
    expect(ArcpClient.ArcpClient.layer).type.toBeCallableWith({ token, reconnect: false, ack: "manual" })
    expect(ArcpClient.ArcpClient.layer).type.not.toBeCallableWith({ token, reconnect: true })
  })

  test("outlives the process with a store", () => {
    expect(ArcpClient.ArcpClient.layerPersisted({ token: Redacted.make("t"), key: "k" })).type.toBe<
      Layer.Layer<ArcpClient.ArcpClient, ClientError.ConnectError, Dialer.Dialer | KeyValueStore.KeyValueStore>
    >()
  })
})

describe("errors name only what can be", () => {
  test("of a submit", () => {
    expect<ClientError.SubmitError["_tag"]>().type.toBe<
      | "AgentNotAvailable"
      | "AgentVersionNotAvailable"
      | "BudgetExhausted"
      | "DuplicateKey"
      | "HeartbeatLost"
      | "InternalError"
      | "InvalidRequest"
      | "LeaseSubsetViolation"
      | "PermissionDenied"
      | "ResumeWindowExpired"
      | "Timeout"
      | "Unauthenticated"
    >()
  })

  test("of a cancellation", () => {
    expect<ClientError.CancelError["_tag"]>().type.toBe<
      | "HeartbeatLost"
      | "InternalError"
      | "InvalidRequest"
      | "JobNotFound"
      | "PermissionDenied"
      | "ResumeWindowExpired"
      | "Timeout"
      | "Unauthenticated"
    >()
  })

  test("of a subscription", () => {
    expect<ClientError.SubscribeError["_tag"]>().type.toBe<
      | "HeartbeatLost"
      | "InternalError"
      | "InvalidRequest"
      | "JobNotFound"
      | "PermissionDenied"
      | "ResumeWindowExpired"
      | "Timeout"
      | "Unauthenticated"
    >()
  })

  test("of a listing", () => {
    expect<ClientError.ListError["_tag"]>().type.toBe<
      | "HeartbeatLost"
      | "InternalError"
      | "InvalidRequest"
      | "PermissionDenied"
      | "ResumeWindowExpired"
      | "Timeout"
      | "Unauthenticated"
    >()
  })

  test("of a ping", () => {
    expect<ClientError.PingError["_tag"]>().type.toBe<
      "HeartbeatLost" | "InvalidRequest" | "ResumeWindowExpired" | "Timeout" | "Unauthenticated"
    >()
  })
})

describe("the layer", () => {
  const options = { token: Redacted.make("t") }

  test("asks for a dialer and nothing else, and says why it may fail", () => {
    expect(ArcpClient.ArcpClient.layer(options)).type.toBe<
      Layer.Layer<
        ArcpClient.ArcpClient,
        ArcpError.Unauthenticated | ArcpError.InvalidRequest | ArcpError.HeartbeatLost | ArcpError.InternalError,
        Dialer.Dialer
      >
    >()
  })

  test("takes a token, or the way to one", () => {
    expect(ArcpClient.ArcpClient.layer).type.toBeCallableWith({ token: Effect.succeed(Redacted.make("t")) })
    expect(ArcpClient.ArcpClient.layer).type.not.toBeCallableWith({ token: "t" })
  })
})

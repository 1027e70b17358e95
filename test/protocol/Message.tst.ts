import { expect, test } from "tstyche"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Codec from "../../src/protocol/Codec.ts"
import type * as Message from "../../src/protocol/Message.ts"
import type { Result } from "effect"

test("every message that a client can say has a schema, and only those", () => {
  expect<Message.FromClient["type"]>().type.toBe<keyof typeof Message.fromClient>()
})

test("every message that a runtime can say has a schema, and only those", () => {
  expect<Message.FromRuntime["type"]>().type.toBe<keyof typeof Message.fromRuntime>()
})

test("a message is narrowed by its type", () => {
  expect<Extract<Message.FromRuntime, { readonly type: "job.accepted" }>["payload"]>().type.toHaveProperty("job_id")
  expect<Extract<Message.FromRuntime, { readonly type: "job.event" }>["payload"]>().type.toHaveProperty("kind")
})

test("decoding is a value, for good frames and bad ones", () => {
  expect<ReturnType<typeof Codec.decodeFromClient>>().type.toBe<Result.Result<Message.FromClient, Codec.BadFrame>>()
})

test("each error has its line in the table, and there are fifteen codes", () => {
  expect<ArcpError.ArcpError["_tag"]>().type.toBe<keyof typeof ArcpError.table>()
  expect<ArcpError.Code>().type.toBe<
    | "PERMISSION_DENIED"
    | "LEASE_SUBSET_VIOLATION"
    | "JOB_NOT_FOUND"
    | "DUPLICATE_KEY"
    | "AGENT_NOT_AVAILABLE"
    | "AGENT_VERSION_NOT_AVAILABLE"
    | "CANCELLED"
    | "TIMEOUT"
    | "RESUME_WINDOW_EXPIRED"
    | "HEARTBEAT_LOST"
    | "LEASE_EXPIRED"
    | "BUDGET_EXHAUSTED"
    | "INVALID_REQUEST"
    | "UNAUTHENTICATED"
    | "INTERNAL_ERROR"
  >()
})

/**
 * The HTTP client of an agent that calls a LiteLLM proxy with the key of its job: what the proxy refuses for the sake of the lease fails as it
 * would if this runtime had refused it (§9.6, §9.7). An agent that does not catch it ends its job with that error.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { HttpClient } from "effect/http"
 * import { LiteLlmClient } from "effect-arcp/node"
 *
 * const models = Effect.gen(function*() {
 *   const client = LiteLlmClient.make(yield* HttpClient.HttpClient)
 *   return yield* client.get("https://llm.example.com/v1/models")
 * })
 * ```
 *
 * | what the proxy says | `cause` of the `HttpClientError` |
 * | --- | --- |
 * | the money of the key is spent | `BudgetExhausted` |
 * | the key is not for this model | `PermissionDenied` |
 *
 * Every other answer is given as it came.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { HttpClient, HttpClientError, type HttpClientResponse } from "effect/http"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as LiteLlmProvisioner from "./LiteLlmProvisioner.ts"

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Nothing of what the proxy said is repeated: it may quote the key. */
const meaningOf = (status: number, body: unknown): ArcpError.ArcpError | undefined => {
  if (LiteLlmProvisioner.isBudgetExceeded(status, body)) {
    return new ArcpError.BudgetExhausted({ message: "The budget of the key is spent at the proxy" })
  }
  return LiteLlmProvisioner.isModelDenied(status, body)
    ? new ArcpError.PermissionDenied({ message: "The key is not for this model" })
    : undefined
}

const translate = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse) {
  const { request, status } = response
  if (status < 400 || status >= 500) return response
  const cause = meaningOf(status, parse(yield* response.text))
  if (cause === undefined) return response
  const { message: description } = cause
  return yield* new HttpClientError.HttpClientError({
    reason: new HttpClientError.StatusCodeError({ request, response, description, cause })
  })
})

/**
 * The client, which fails where the proxy refuses for the sake of the lease.
 *
 * @category combinators
 * @since 0.1.0
 */
export const make = <E, R>(
  client: HttpClient.HttpClient.With<E, R>
): HttpClient.HttpClient.With<E | HttpClientError.HttpClientError, R> =>
  HttpClient.transformResponse(client, (response) => Effect.flatMap(response, translate))

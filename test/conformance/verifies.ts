/**
 * Ties a test to the requirements that it shows to hold. The ids stand in front of the test's title, and
 * `Coverage.test.ts` reads them from the source, so they are written as literals.
 */
import { it } from "@effect/vitest"
import type { TestContext, TestOptions, Vitest } from "@effect/vitest"
import type { Scope } from "effect"
import type { Requirement, RequirementId } from "./requirements.ts"
import { requirements } from "./requirements.ts"

const known: ReadonlyMap<string, Requirement> = new Map(
  requirements.map((requirement) => [requirement.id, requirement])
)

/** Throws for an id that no requirement has: a test must not seem to cover what does not exist. */
export const lookup = (id: string): Requirement => {
  const requirement = known.get(id)
  if (requirement === undefined) throw new Error(`no requirement has the id ${JSON.stringify(id)}`)
  return requirement
}

/** `C-001 C-003 a full session has ...` */
export const title = (ids: string | ReadonlyArray<string>, name: string): string => {
  const cited = typeof ids === "string" ? [ids] : ids
  if (cited.length === 0) throw new Error(`the test ${JSON.stringify(name)} cites no requirement`)
  return [...cited.map((id) => lookup(id).id), name].join(" ")
}

const registerWith =
  (test: Vitest.Test<Scope.Scope>) =>
  <A, E>(
    ids: RequirementId | ReadonlyArray<RequirementId>,
    name: string,
    body: Vitest.TestFunction<A, E, Scope.Scope, [TestContext]>,
    options?: number | TestOptions
  ): void =>
    test(title(ids, name), body, options)

/**
 * Registers a test on the test clock. `verifies.live` registers one on the real clock, for real sockets and processes.
 *
 * ```ts
 * verifies("C-028", "a ping is answered with its nonce", () => Effect.gen(function*() { ... }))
 * verifies(["C-051", "C-059"], "accepted first, terminal last", () => ...)
 * ```
 */
export const verifies = Object.assign(registerWith(it.effect), { live: registerWith(it.live) })

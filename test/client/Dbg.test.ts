import { it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Fake from "./FakeRuntime.ts"
it.effect("dbg", () => Effect.gen(function*() {
    const runtime = yield* Fake.make()
    const scope = yield* Scope.make()
    yield* Effect.forkScoped(runtime.welcome())
    yield* Layer.buildWithScope(Layer.provide(ArcpClient.ArcpClient.layer({ token: Redacted.make("secret") }), runtime.dialer), scope)
    console.log("built")
    const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void))
    for (let i = 0; i < 100; i++) yield* Effect.yieldNow
    console.log("heard", (yield* runtime.unheard).map(f => f.type), closing.pollUnsafe())
    yield* runtime.say({ type: "session.closed" })
    for (let i = 0; i < 100; i++) yield* Effect.yieldNow
    console.log(closing.pollUnsafe())
}), { timeout: 3000 })

/**
 * The models of one kind that a host offers to its jobs, by their ids: a job has the first of them, and may pick another.
 */
import { Context, Effect, Layer } from "effect"
import * as Model from "effect/ai/Model"
import type * as PriceTable from "../../authority/PriceTable.ts"
import type * as LeasedJob from "../LeasedJob.ts"
import * as ModelPolicy from "../ModelPolicy.ts"

export interface Kind<Identifier, M extends object, Request> {
  /** The service that it is to whoever uses it. */
  readonly service: Context.Key<Identifier, M>
  /** What makes one for each job. */
  readonly factory: Context.Reference<(job: LeasedJob.LeasedJob) => M>
  readonly lease: (raw: M, job: LeasedJob.LeasedJob, id: string, policy: ModelPolicy.ModelPolicy<Request>) => M
  /** One that refuses every request, for this reason. */
  readonly absent: (id: string, reason: string) => M
}

export interface ModelOffer<Identifier, Request> {
  readonly layer: (
    id: string,
    options: ModelPolicy.Options<Request>
  ) => Layer.Layer<never, PriceTable.InvalidPrice, Identifier>
  readonly layerModels: <Models extends Readonly<Record<string, Layer.Layer<Identifier, unknown, unknown>>>>(
    models: Models,
    options: ModelPolicy.Options<Request>
  ) => Layer.Layer<
    never,
    PriceTable.InvalidPrice | Layer.Error<Models[keyof Models]>,
    Layer.Services<Models[keyof Models]>
  >
  readonly model: (id: string) => Model.Model<"arcp", Identifier, Identifier>
}

/** One of these layers, whichever. */
type AnyOf<Models extends Readonly<Record<string, Layer.Any>>, Identifier> = Layer.Layer<
  Identifier,
  Layer.Error<Models[keyof Models]>,
  Layer.Services<Models[keyof Models]>
>

export const make = <Identifier, M extends object, Request>({
  absent,
  factory,
  lease,
  service
}: Kind<Identifier, M, Request>): ModelOffer<Identifier, Request> => {
  /** By which the model that a job has finds the others. */
  const picks = new WeakMap<M, (id: string) => M>()

  const offer = (models: ReadonlyMap<string, M>, options: ModelPolicy.Options<Request>) =>
    Effect.map(Effect.fromResult(ModelPolicy.make(options)), (policy) => (job: LeasedJob.LeasedJob) => {
      const pick = (id: string): M => {
        const model = lease(models.get(id) ?? absent(id, "the host offers no such model"), job, id, policy)
        picks.set(model, pick)
        return model
      }
      const [first = ""] = models.keys()
      return pick(first)
    })

  return {
    layer: (id, options) =>
      Layer.effect(
        factory,
        Effect.flatMap(service, (raw) => offer(new Map([[id, raw]]), options))
      ),
    layerModels: <Models extends Readonly<Record<string, Layer.Layer<Identifier, unknown, unknown>>>>(
      models: Models,
      options: ModelPolicy.Options<Request>
    ) =>
      Layer.effect(
        factory,
        Effect.forEach(Object.entries(models as Readonly<Record<string, AnyOf<Models, Identifier>>>), ([id, layer]) =>
          Effect.map(Layer.build(layer), (context) => [id, Context.get(context, service)] as const)
        ).pipe(Effect.flatMap((built) => offer(new Map(built), options)))
      ),
    model: (id) =>
      Model.make(
        "arcp",
        id,
        Layer.effect(
          service,
          Effect.map(service, (current) => picks.get(current)?.(id) ?? absent(id, "there is no job here that uses it"))
        ) as Layer.Layer<Identifier, never, Identifier>
      )
  }
}

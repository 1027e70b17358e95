/**
 * The ordinary Effect services behind a job's lease.
 *
 * @since 0.1.0
 */
export * as AnchoredFiles from "./AnchoredFiles.ts"
export * as LeasedChildProcess from "./LeasedChildProcess.ts"
export * as LeasedEmbeddingModel from "./LeasedEmbeddingModel.ts"
export * as LeasedFileSystem from "./LeasedFileSystem.ts"
export * as LeasedHttpClient from "./LeasedHttpClient.ts"
export * as LeasedJob from "./LeasedJob.ts"
export * as LeasedLanguageModel from "./LeasedLanguageModel.ts"
export * as LeasedServices from "./LeasedServices.ts"
export * as LeasedTool from "./LeasedTool.ts"
export * as LeasedToolkit from "./LeasedToolkit.ts"
export * as ModelPolicy from "./ModelPolicy.ts"
export * as PinnedHttp from "./PinnedHttp.ts"

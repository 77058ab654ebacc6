import type { DataHealth } from '../../core/data-health.ts'
import { type ManifestSoFar, type RefList, readTokenCounts } from '../../refs/manifest.ts'
import { lengthHistogram, shareHistogram } from './histograms.ts'
import { vocabularyCoverage } from './vocabulary-coverage.ts'

/**
 * What the samples of a manifest are like, from its refs and from what its producer counted; without samples as text.
 * `draftSize`: the draft vocabulary of a config.
 */
export async function dataHealth(manifest: ManifestSoFar, draftSize: number | null = null): Promise<DataHealth> {
  const { root, refs, health, countsFiles } = manifest
  const { contract } = root
  const counts = await readTokenCounts(countsFiles)
  return {
    run: root.run_id,
    state: root.state,
    produced: health,
    ...refFigures(refs),
    vocabulary: contract === null ? null : vocabularyCoverage(counts, contract.shape.vocabSize, draftSize),
    shown: null,
  }
}

type RefFigures = Pick<
  DataHealth,
  'samples' | 'cut' | 'tokens' | 'trainedTokens' | 'bytes' | 'lengths' | 'trainedShares'
>

/** One pass: a parsed ref takes many times the memory of its line, and there may be a million. */
function refFigures(refs: RefList): RefFigures {
  const lengths = new Float64Array(refs.length)
  const shares: number[] = []
  let [cut, tokens, trainedTokens, bytes] = [0, 0, 0, 0]
  for (let index = 0; index < refs.length; index += 1) {
    const { numTokens, trainedTokens: trained, truncated, bytes: size } = refs.at(index)
    lengths[index] = numTokens
    cut += Number(truncated === true)
    tokens += numTokens
    bytes += size
    trainedTokens += trained ?? 0
    if (trained !== undefined && numTokens > 0) shares.push(trained / numTokens)
  }
  const figures = { samples: refs.length, cut, tokens, trainedTokens, bytes }
  return { ...figures, lengths: lengthHistogram(lengths), trainedShares: shareHistogram(shares) }
}

import type { Evaluation, RunHistory } from '../events/run-history.ts'
import { gib, memoryParts, peakText } from '../text/memory-text.ts'
import { speedUp } from '../text/summary.ts'
import { bytes, count, duration, figure, percent, plural } from '../words.ts'
import { html, type Markup, nothing } from './html.ts'

/** The four figures that most readers came for. */
export function facts({ metrics, produced, evaluation, trained, trainStarted }: RunHistory): Markup {
  const [first, last] = [metrics[0], metrics.at(-1)]
  const best = evaluation?.bySteps.toSorted((a, b) => b.tau - a.tau)[0]
  return html`<dl class="facts">
${fact('Tau', best?.tau.toFixed(3) ?? 'not measured', best === undefined ? 'tokens per pass of the target' : `tokens per pass of the target, ${plural(best.steps, 'draft step')}`)}
${fact('Loss', figure(last?.loss ?? null), first === undefined ? 'no step yet' : `from ${figure(first.loss)} at step ${count(first.step)}`)}
${fact('Accuracy, first token', share(last?.acc[0]), first === undefined ? 'no step yet' : `from ${share(first.acc[0])}`)}
${trainedOn(produced, trainStarted)}
${fact('Steps', last === undefined ? '0' : count(last.step), steps(trainStarted?.ranks, trained?.seconds))}
</dl>`
}

/** The tokens are known of all samples only: where some were held out, the samples are what can be said. */
function trainedOn(produced: RunHistory['produced'], started: RunHistory['trainStarted']): Markup {
  const all = produced?.samples ?? started?.samples
  if (started !== null && started.samples !== all) {
    return fact(
      'Trained on',
      count(started.samples),
      `of ${plural(all ?? 0, 'sample')}, ${count(started.heldOut)} held out`,
    )
  }
  if (produced !== null)
    return fact('Trained on', count(produced.tokens), `tokens in ${plural(produced.samples, 'sample')}`)
  return started === null ? fact('Trained on', 'n/a', 'tokens') : fact('Trained on', count(started.samples), 'samples')
}

const share = (value: number | null | undefined): string => (value == null ? 'n/a' : percent(value))

function steps(ranks: number | undefined, seconds: number | undefined): string {
  const where = ranks === undefined ? '' : ` on ${plural(ranks, 'rank')}`
  return seconds === undefined ? `optimiser steps${where}` : `${duration(seconds)}${where}`
}

const fact = (name: string, value: string, note: string): Markup =>
  html`<div><dt>${name}</dt><dd>${value}<small>${note}</small></dd></div>`

/** What went in, and what was lost on the way. */
export function healthTable({ produced, trainStarted, restarts, lost, spikes }: RunHistory, torn: number): Markup {
  if (produced === null) return html`<p class="lead">No features were made in this run folder.</p>`
  const rows: [string, string, string][] = [
    ['Samples', count(produced.samples), 'in the manifest'],
    ['Skipped', count(produced.skipped), 'not one token to train on'],
    ['Cut', count(produced.cut), 'longer than data.maxLength'],
    ['From before', count(produced.resumed), 'already there from an interrupted run'],
    ['Tokens', count(produced.tokens), ''],
    [
      'Tokens with a loss',
      count(produced.lossTokens),
      produced.tokens > 0 ? percent(produced.lossTokens / produced.tokens) : '',
    ],
    ['Bytes', bytes(produced.bytes), 'in the store'],
    ['Left over', count(trainStarted?.leftOver ?? 0), 'samples an epoch that equal shards cannot place'],
    ['Held out', count(trainStarted?.heldOut ?? 0), 'samples that are validated on and not trained on'],
    ['Lost', count(lost.length), 'samples that training could not read'],
    ['Spikes', count(spikes.length), 'steps whose loss or gradient norm was far above what is usual'],
    ['Restarts', count(restarts), 'of the training'],
    ...(torn > 0
      ? [['Torn events', count(torn), 'lines that a killed process left half-written'] as [string, string, string]]
      : []),
  ]
  const body = rows.map(
    ([name, value, note]) => html`<tr><th scope="row">${name}</th><td>${value}</td><td>${note}</td></tr>`,
  )
  return html`<div class="card"><table class="health"><thead><tr><th scope="col">What</th><th scope="col">Count</th><th scope="col">Meaning</th></tr></thead><tbody>${body}</tbody></table></div>`
}

/** What the training took of memory, by part. */
export function memoryTable({ memory }: RunHistory): Markup {
  if (memory === null) return nothing
  const rows = memoryParts(memory.memory).map(
    ([name, bytes]) => html`<tr><th scope="row">${name}</th><td>${gib(bytes)}</td></tr>`,
  )
  const caption = `Peak ${peakText(memory.memory)}, step ${count(memory.step)}; each figure the most of any rank`
  return html`<section><h2>Memory</h2><div class="card"><table><caption>${caption}</caption><thead><tr><th scope="col">Part</th><th scope="col">GiB</th></tr></thead><tbody>${rows}</tbody></table></div></section>`
}

export function tauTable(result: Evaluation): Markup {
  const rows = result.bySteps.map(({ steps, tau, tokensPerSecond }) => {
    const factor =
      result.plainTokensPerSecond > 0 ? `${(tokensPerSecond / result.plainTokensPerSecond).toFixed(2)}x` : 'n/a'
    return html`<tr><th scope="row">${steps}</th><td>${tau.toFixed(3)}</td><td>${figure(tokensPerSecond)}</td><td>${factor}</td></tr>`
  })
  const verdict = result.lossless
    ? html`<span class="good">Lossless:</span> output ids equal plain greedy decoding.`
    : html`<span class="bad">Not lossless:</span> output ids differ from plain greedy decoding.`
  return html`<div class="card"><table><caption>Chain decoding of ${plural(result.prompts, 'held-out prompt')}</caption><thead><tr><th scope="col">Draft steps</th><th scope="col">Tau</th><th scope="col">Tokens/s</th><th scope="col">Speed-up here</th></tr></thead><tbody>${rows}</tbody></table>
<p class="note">Draft: <code>${result.draft}</code>.</p>
<p class="note">${verdict} Plain decoding: ${figure(result.plainTokensPerSecond)} tokens/s. Speed-up: ${speedUp(result)}.</p></div>`
}

export function acceptanceTable({ bySteps }: Evaluation): Markup {
  const positions = Math.max(0, ...bySteps.map(({ acceptance }) => acceptance.length))
  const all = Array.from({ length: positions }, (_, index) => index)
  const heads = all.map((index) => html`<th scope="col">${index + 1}</th>`)
  const rows = bySteps.map(({ steps, acceptance }) => {
    const cells = all.map((index) => html`<td>${index < acceptance.length ? share(acceptance[index]) : nothing}</td>`)
    return html`<tr><th scope="row">${steps}</th>${cells}</tr>`
  })
  return html`<div class="card"><table><caption>Accepted by draft position, once all before it were accepted</caption><thead><tr><th scope="col">Draft steps</th>${heads}</tr></thead><tbody>${rows}</tbody></table></div>`
}

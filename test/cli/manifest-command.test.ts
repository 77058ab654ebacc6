import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { lazyPython } from '../../src/bridge/lazy-python.ts'
import { ManifestWriter, recordFailure, writeRefManifest } from '../../src/refs/manifest.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { draftbridge } from '../support/cli.ts'
import { published, refs, work } from '../support/manifests.ts'
import { exampleContract, exampleRef } from '../support/refs.ts'
import { tempDir } from '../support/temp-dir.ts'

const slow = { timeout: 180_000 }

const manifest = (...args: string[]) => draftbridge('manifest', ...args)

describe('manifest show', slow, () => {
  it('summarises a complete manifest, with a histogram of tokens', async () => {
    const { code, stdout } = await manifest('show', await published(), '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      state: 'complete',
      error: null,
      samples: 5,
      tokens: 5 + 6 + 7 + 8 + 9,
      bytes: refs.reduce((sum, ref) => sum + ref.bytes, 0),
      signed: false,
      histogram: [
        { from: 4, to: 8, samples: 3 },
        { from: 8, to: 16, samples: 2 },
      ],
    })
  })

  it('summarises a manifest that is still open, and one whose producer failed', async () => {
    const given = await work()
    const writer = await ManifestWriter.open(given)
    writer.append(exampleRef(0))
    await writer.flush()
    const open = await manifest('show', given.dir)
    expect(open.code).toBe(0)
    expect(open.stdout).toMatch(/^state +open$/m)
    expect(open.stdout).toMatch(/^heartbeat +\d+ s ago$/m)
    expect(open.stdout).toMatch(/^tokens each +4 to 7 +1 #{30}$/m)
    await recordFailure({ ...given, code: 'OUT_OF_MEMORY' })
    const failed = await manifest('show', given.dir)
    expect(failed.stdout).toMatch(/^state +failed$/m)
    expect(failed.stdout).toMatch(/^error +OUT_OF_MEMORY$/m)
    const verified = await manifest('verify', given.dir)
    expect(verified.code).toBe(65)
    expect(verified.stderr).toContain('failed (OUT_OF_MEMORY)')
  })
})

describe('manifest verify', slow, () => {
  it('lists the samples that are not in the store, and exits 65', async () => {
    const root = path.join(await tempDir(), 'store')
    await using store = await sharedDirFeatureStore({ python: lazyPython, root })
    const dir = path.join(root, 'manifest')
    await writeRefManifest({
      ...(await work(dir)),
      storeId: store.id,
      refs: refs.map((ref) => ({ ...ref, storeId: store.id })),
      counts: [],
    })
    const { code, stdout, stderr } = await manifest('verify', dir, '--store', root)
    expect(stderr).toContain('5 of 5 samples are not in the store')
    expect(stdout.split('\n')).toContain('run:00000003@4')
    expect(code).toBe(65)
  })

  it('does not ignore a key file that it cannot use', async () => {
    const { code, stderr } = await manifest('verify', await published(), '--key-file', 'key')
    expect([code, stderr]).toEqual([64, expect.stringContaining('--key-file without --store')])
  })
})

describe('manifest convert', slow, () => {
  it('writes a file that SpecForge can read', async () => {
    const folder = await tempDir()
    const file = path.join(folder, 'reference.json')
    expect((await manifest('convert', await published(), '--to', file)).code).toBe(0)
    expect(await readdir(folder)).toEqual(['reference.json'])
    const { schema_version: version, refs: written } = JSON.parse(await readFile(file, 'utf8'))
    expect(version).toBe(1)
    expect(written.map((ref: { sample_id: string }) => ref.sample_id)).toEqual(refs.map((ref) => ref.sampleId))
    // Exactly the fields of SpecForge's constructor: an unknown field is a TypeError there.
    expect(written[2]).toEqual({
      sample_id: 'run:00000002',
      run_id: 'run',
      source_task_id: null,
      feature_store_uri: 'disagg://store-a/run:00000002',
      feature_keys: {
        input_ids: 'run:00000002/input_ids',
        loss_mask: 'run:00000002/loss_mask',
        hidden_state: 'run:00000002/hidden_state',
        aux_hidden_state: 'run:00000002/aux_hidden_state',
      },
      feature_specs: Object.fromEntries(
        [
          ['input_ids', [1, 7], 'int64'],
          ['loss_mask', [1, 7], 'int64'],
          ['hidden_state', [1, 7, 8], 'bfloat16'],
          ['aux_hidden_state', [1, 7, 24], 'bfloat16'],
        ].map(([name, shape, dtype]) => [
          name,
          { name, shape, dtype, device_hint: null, required: true, target_repr: null, target_meta: {} },
        ]),
      ),
      strategy: 'eagle3',
      schema_version: 1,
      target_model_version: exampleContract.targetHash,
      draft_weight_version: null,
      tokenizer_version: 'unknown',
      num_tokens: 7,
      estimated_bytes: refs[2]?.bytes,
      metadata: {
        from: 'data_2.ckpt',
        lossTokens: 5,
        truncated: true,
        run_id: 'run',
        strategy: 'eagle3',
        format: 'offline_eagle3',
        target_repr: 'hidden_state',
        file_index: 2,
        generation: 3,
        digests: refs[2]?.digests,
      },
    })
  })

  it('--from says how to get the samples of a SpecForge manifest', async () => {
    const file = path.join(await tempDir(), 'reference.json')
    await writeFile(file, JSON.stringify({ schema_version: 1, refs: [{ sample_id: 'a:0' }] }))
    const { code, stderr } = await manifest('convert', '--from', file)
    expect(code).toBe(65)
    expect(stderr).toContain('1 refs; no digests')
    expect(stderr).toContain('draftbridge ingest')
  })
})

import { defineConfig } from 'vitest/config'

// A file that embeds Python is named *.py.test.ts: it needs a process of its own (CPython starts once per process).
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.py.test.ts'],
          testTimeout: 120_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'python',
          include: ['test/**/*.py.test.ts'],
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 600_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 1 },
          // Two test files and their children share the cores: OpenMP threads that spin would starve one another.
          env: { OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'PASSIVE' },
        },
      },
    ],
  },
})

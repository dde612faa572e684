// Starts a program that is a module (-sMODULARIZE): node start.mjs PROGRAM ARGUMENT…
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [program, ...rest] = process.argv.slice(2);
const { default: make } = await import(pathToFileURL(path.resolve(program)));
await make({ arguments: rest });

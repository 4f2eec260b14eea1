// Serves the folder it is started in. Plain Node without dependencies: a static site's image holds this one file.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, sep } from 'node:path';

const types = {
  '.avif': 'image/avif',
  '.css': 'text/css; charset=utf-8',
  '.csv': 'text/csv; charset=utf-8',
  '.gif': 'image/gif',
  '.htm': 'text/html; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.md': 'text/markdown; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.mp3': 'audio/mpeg',
  '.mp4': 'video/mp4',
  '.ogg': 'audio/ogg',
  '.otf': 'font/otf',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.ttf': 'font/ttf',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.wav': 'audio/wav',
  '.webm': 'video/webm',
  '.webmanifest': 'application/manifest+json',
  '.webp': 'image/webp',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml',
};

const root = await realpath(process.cwd());
/** Hashes of files served before, by path: files of an image never change. Bounded, oldest out first. */
const etags = new Map();
const maxEtags = 10_000;

const server = createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(`${request.method} ${request.url}: ${error.message}`);
    if (response.headersSent) response.destroy();
    else text(response, 500, 'internal error');
  });
});

async function serve(request, response) {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return text(response, 405, 'only GET and HEAD');
  }
  const [rawPath, query] = (request.url ?? '/').split(/\?(.*)/s);
  const path = decoded(rawPath);
  if (path === undefined) return text(response, 400, 'bad path');

  let found = hidden(path) ? undefined : await fileAt(join(root, path));
  if (found?.stats.isDirectory()) {
    if (!path.endsWith('/')) {
      // "/a" and "//host" both start with a slash; only the first is a path of this site.
      const location = `${rawPath.replace(/^\/+/, '/')}/${query === undefined ? '' : `?${query}`}`;
      response.writeHead(301, { location, 'content-length': 0 });
      return response.end();
    }
    found = await fileAt(join(found.real, 'index.html'));
  } else if (path.endsWith('/')) {
    found = undefined;
  } else if (!found && extname(path) === '' && !hidden(path)) {
    found = await fileAt(join(root, `${path}.html`));
  }
  if (!found?.stats.isFile()) {
    const page = await fileAt(join(root, '404.html'));
    return page?.stats.isFile() ? send(request, response, page, 404) : text(response, 404, 'not found');
  }
  return send(request, response, found, 200);
}

function decoded(rawPath) {
  let path;
  try {
    path = decodeURIComponent(rawPath);
  } catch {
    return undefined; // a lone % or bytes that are no UTF-8
  }
  return path.startsWith('/') && !path.includes('\0') ? path : undefined;
}

/** Dot files are the tools' own business, except what RFC 8615 puts under .well-known; `..` is never followed. */
function hidden(path) {
  return path.split('/').some((part) => part.startsWith('.') && part !== '.well-known');
}

/** The file and where it really is; undefined when it is missing or a link leads out of the site. */
async function fileAt(path) {
  try {
    const real = await realpath(path);
    if (real !== root && !real.startsWith(root + sep)) return undefined;
    return { real, stats: await stat(real) };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EACCES'].includes(error.code)) return undefined;
    throw error;
  }
}

async function send(request, response, { real, stats }, status) {
  // The files of an image all have the time 0, which says nothing; a content hash is the same on every instance.
  const modified = stats.mtimeMs > 0 ? new Date(Math.floor(stats.mtimeMs / 1000) * 1000) : undefined;
  const etag = await etagOf(real);
  response.setHeader('etag', etag);
  if (modified) response.setHeader('last-modified', modified.toUTCString());
  response.setHeader('accept-ranges', 'bytes');
  response.setHeader('cache-control', 'no-cache');
  response.setHeader('x-content-type-options', 'nosniff');
  if (status === 200 && fresh(request.headers, etag, modified)) {
    response.writeHead(304);
    return response.end();
  }
  response.setHeader('content-type', types[extname(real).toLowerCase()] ?? 'application/octet-stream');

  const range = status === 200 ? rangeOf(request.headers, stats.size, etag, modified) : undefined;
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${stats.size}`, 'content-length': 0 });
    return response.end();
  }
  const [first, last] = range ?? [0, stats.size - 1];
  if (range) response.setHeader('content-range', `bytes ${first}-${last}/${stats.size}`);
  response.writeHead(range ? 206 : status, { 'content-length': last - first + 1 });
  if (request.method === 'HEAD' || stats.size === 0) return response.end();
  const file = createReadStream(real, { start: first, end: last });
  file.on('error', () => response.destroy());
  response.on('close', () => file.destroy());
  file.pipe(response);
}

async function etagOf(path) {
  const known = etags.get(path);
  if (known) return known;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  const etag = `"${hash.digest('base64url').slice(0, 22)}"`;
  if (etags.size >= maxEtags) etags.delete(etags.keys().next().value);
  etags.set(path, etag);
  return etag;
}

/** RFC 9110, 13.1: If-None-Match decides alone when it is there. */
function fresh(headers, etag, modified) {
  const match = headers['if-none-match'];
  if (match !== undefined) {
    return match.trim() === '*' || match.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  }
  return modified !== undefined && modified.getTime() <= Date.parse(headers['if-modified-since'] ?? '');
}

/** RFC 9110, 14.1.2: one range; anything else is answered with the whole file. */
function rangeOf(headers, size, etag, modified) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const unless = headers['if-range'];
  if (unless !== undefined && unless !== etag && Date.parse(unless) !== modified?.getTime()) return undefined;
  if (match[1] === '') {
    const length = Math.min(Number(match[2]), size);
    return length === 0 ? 'unsatisfiable' : [size - length, size - 1];
  }
  const first = Number(match[1]);
  const last = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== '' && Number(match[2]) < first) return undefined;
  return first >= size ? 'unsatisfiable' : [first, last];
}

function text(response, status, words) {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'content-length': words.length + 1 });
  response.end(`${words}\n`);
}

// '::' takes IPv4 as well; a kernel without IPv6 has only the other one.
const port = Number(process.env.PORT ?? 8080);
server.on('error', (error) => {
  if (error.code !== 'EAFNOSUPPORT' && error.code !== 'EADDRNOTAVAIL') throw error;
  server.listen(port, '0.0.0.0');
});
server.on('listening', () => console.log(`serving on port ${server.address().port}`));
server.listen(port, '::');

process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

import Fastify from 'fastify';

const app = Fastify({ logger: true });
const maxTodos = 1000;

// In memory: each instance has its own, and they go when the service scales to zero.
const todos = new Map();
let nextId = 1;

const todo = {
  type: 'object',
  required: ['title'],
  additionalProperties: false,
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 200 },
    done: { type: 'boolean', default: false },
  },
};

app.get('/', () => ({ service: process.env.K_SERVICE ?? 'api', revision: process.env.K_REVISION ?? null }));

app.get('/todos', () => [...todos.values()]);

app.post('/todos', { schema: { body: todo } }, (request, reply) => {
  if (todos.size >= maxTodos) return reply.code(507).send({ message: `there are ${maxTodos} todos already` });
  const created = { id: nextId++, ...request.body };
  todos.set(created.id, created);
  return reply.code(201).header('location', `/todos/${created.id}`).send(created);
});

app.get('/todos/:id', (request, reply) => {
  const found = todos.get(Number(request.params.id));
  return found ?? reply.code(404).send({ message: `no todo ${request.params.id}` });
});

app.delete('/todos/:id', (request, reply) => {
  const deleted = todos.delete(Number(request.params.id));
  return reply.code(deleted ? 204 : 404).send();
});

await app.listen({ port: Number(process.env.PORT ?? 8080), host: '::' });

process.on('SIGTERM', () => {
  app.close().then(() => process.exit(0));
});

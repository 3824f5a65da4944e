// PostGraphile on our tables as its documents advise: one schema, no mutations, no watching, no
// GraphiQL. DATABASE_URL takes the reader's role; the pool of connections is its default one.
//
// Two things it cannot see for itself. That a transaction's place in its ledger is unique: we say
// so by an index, and it reads constraints. And that the entries of an account are found by their
// primary key: it has no ledger in front, so to PostGraphile the relation looks unindexed.
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { jsonPgSmartTags } from "postgraphile/utils";

export default {
  extends: [PostGraphileAmberPreset],
  plugins: [
    jsonPgSmartTags({
      version: 1,
      config: {
        class: { transactions: { tags: { unique: "organization_id,ledger_id,sequence" } } },
      },
    }),
  ],
  disablePlugins: ["PgIndexBehaviorsPlugin"],
  pgServices: [
    makePgService({ connectionString: process.env.DATABASE_URL, schemas: ["public"] }),
  ],
  schema: { defaultBehavior: "-insert -update -delete" },
  grafserv: { graphiql: false, watch: false },
};

"""What PostgreSQL's catalogue is asked. Constant text: nothing of the configuration goes into it."""

from __future__ import annotations

from collections.abc import Mapping

#: Before each query: the tables and views that are the organization's own.
RELATIONS = """
WITH relations AS (
    SELECT c.oid, c.oid::int8 AS id, n.oid AS schema_oid, n.nspname AS schema, c.relname AS name,
           c.relkind::text AS kind, pg_get_userbyid(c.relowner) AS owner,
           c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
), people AS (
    SELECT oid, rolname AS role FROM pg_roles WHERE NOT rolsuper AND rolname NOT LIKE 'pg\\_%'
)
"""

QUERIES: Mapping[str, str] = {
    "tables": """
        SELECT id, schema, name, kind, owner, row_security, forced,
               obj_description(oid, 'pg_class') AS comment
        FROM relations ORDER BY schema, name""",
    "columns": """
        SELECT c.id AS table, c.schema, a.attname AS name, a.attnum::int AS position,
               format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
               col_description(c.oid, a.attnum) AS comment,
               EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p'
                         AND a.attnum = ANY (k.conkey)) AS primary_key
        FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 4""",
    "foreign keys": """
        SELECT c.id AS table, c.schema, k.conname AS name, k.confrelid::int8 AS target_table,
               a.attname AS column, b.attname AS target_column
        FROM relations c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f'
        CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (here, there)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.here
        JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.there ORDER BY 1, 3, 5""",
    "views": """
        SELECT DISTINCT c.id AS table, c.schema, c.name, d.refobjid::int8 AS base
        FROM relations c JOIN pg_rewrite r ON r.ev_class = c.oid
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
             AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
        WHERE c.kind IN ('v', 'm') ORDER BY 1, 4""",
    "policies": """
        SELECT c.id AS table, c.schema,
               format('Policy %s: %s to %s%s%s.', p.polname,
                      CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                                    WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                      CASE WHEN 0 = ANY (p.polroles) THEN 'everyone'
                           ELSE (SELECT string_agg(pg_get_userbyid(one), ', ' ORDER BY 1)
                                 FROM unnest(p.polroles) AS one) END,
                      ' where ' || pg_get_expr(p.polqual, p.polrelid),
                      ' with check ' || pg_get_expr(p.polwithcheck, p.polrelid)) AS description
        FROM relations c JOIN pg_policy p ON p.polrelid = c.oid ORDER BY 1, p.polname""",
    "roles": """
        SELECT r.rolname AS name, r.rolsuper AS superuser,
               concat_ws(', ', CASE WHEN r.rolcanlogin THEN 'may log in' ELSE 'may not log in' END,
                         CASE WHEN r.rolsuper THEN 'superuser' END,
                         CASE WHEN r.rolbypassrls THEN 'bypasses row-level security' END,
                         'member of ' || (SELECT string_agg(DISTINCT pg_get_userbyid(m.roleid)::text, ', ')
                                          FROM pg_auth_members m WHERE m.member = r.oid)) AS description
        FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%' ORDER BY 1""",
    "members": """
        SELECT DISTINCT pg_get_userbyid(m.member) AS member, pg_get_userbyid(m.roleid) AS role
        FROM pg_auth_members m
        WHERE pg_get_userbyid(m.roleid) NOT LIKE 'pg\\_%' AND pg_get_userbyid(m.member) NOT LIKE 'pg\\_%'
        ORDER BY 1, 2""",
    # What the server itself answers that each role may do: by grants, membership and PUBLIC alike.
    "grants": """
        SELECT c.id AS table, c.schema, r.role, may.read, may.write
        FROM relations c CROSS JOIN people r
        CROSS JOIN LATERAL (SELECT has_table_privilege(r.oid, c.oid, 'SELECT'),
            has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS may (read, write)
        WHERE has_schema_privilege(r.oid, c.schema_oid, 'USAGE') AND (may.read OR may.write) ORDER BY 1, 3""",
    "column grants": """
        SELECT c.id AS table, c.schema, a.attname AS column, r.role
        FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid CROSS JOIN people r
        WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
          AND has_schema_privilege(r.oid, c.schema_oid, 'USAGE')
          AND has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')
          AND NOT has_table_privilege(r.oid, c.oid, 'SELECT') ORDER BY 1, 3, 4""",
}

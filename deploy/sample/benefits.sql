-- The benefits database of Harborview Benefits (fictional): its schema and a few rows.
-- Every row carries a marker that begins with ZX-ROW-MARKER: rows never reach the graph,
-- and the tests look for these markers to prove it.
-- Make benefits.sqlite anew:  rm -f benefits.sqlite && sqlite3 benefits.sqlite < benefits.sql

PRAGMA foreign_keys = ON;
BEGIN TRANSACTION;

-- No health information -------------------------------------------------------------------------

CREATE TABLE carriers (
    carrier_id   INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    naic_code    TEXT NOT NULL UNIQUE,
    quote_inbox  TEXT NOT NULL
);

CREATE TABLE plans (
    plan_id       INTEGER PRIMARY KEY,
    carrier_id    INTEGER NOT NULL REFERENCES carriers (carrier_id),
    name          TEXT NOT NULL UNIQUE,
    network_type  TEXT NOT NULL CHECK (network_type IN ('PPO', 'HMO', 'EPO', 'POS', 'HDHP')),
    plan_year     INTEGER NOT NULL,
    summary_file  TEXT
);

CREATE TABLE employer_groups (
    group_id         INTEGER PRIMARY KEY,
    legal_name       TEXT NOT NULL UNIQUE,
    eligible_count   INTEGER NOT NULL,
    renewal_month    INTEGER NOT NULL CHECK (renewal_month BETWEEN 1 AND 12),
    account_manager  TEXT NOT NULL,
    note             TEXT
);

CREATE TABLE contacts (
    contact_id  INTEGER PRIMARY KEY,
    group_id    INTEGER REFERENCES employer_groups (group_id),
    carrier_id  INTEGER REFERENCES carriers (carrier_id),
    full_name   TEXT NOT NULL,
    work_email  TEXT NOT NULL,
    work_phone  TEXT,
    note        TEXT,
    CHECK ((group_id IS NULL) <> (carrier_id IS NULL))
);

CREATE TABLE quotes (
    quote_id      INTEGER PRIMARY KEY,
    group_id      INTEGER NOT NULL REFERENCES employer_groups (group_id),
    requested_on  TEXT NOT NULL,
    status        TEXT NOT NULL DEFAULT 'open',
    broker        TEXT NOT NULL,
    note          TEXT
);

CREATE TABLE quote_lines (
    quote_id         INTEGER NOT NULL REFERENCES quotes (quote_id),
    line_number      INTEGER NOT NULL,
    plan_id          INTEGER NOT NULL REFERENCES plans (plan_id),
    monthly_premium  NUMERIC NOT NULL,
    note             TEXT,
    PRIMARY KEY (quote_id, line_number)
);

CREATE TABLE commissions (
    commission_id  INTEGER PRIMARY KEY,
    quote_id       INTEGER NOT NULL,
    line_number    INTEGER NOT NULL,
    percentage     NUMERIC NOT NULL,
    disclosed_on   TEXT,
    note           TEXT,
    FOREIGN KEY (quote_id, line_number) REFERENCES quote_lines (quote_id, line_number)
);

-- Protected health information --------------------------------------------------------------------

CREATE TABLE members (
    member_id         INTEGER PRIMARY KEY,
    group_id          INTEGER NOT NULL REFERENCES employer_groups (group_id),
    plan_id           INTEGER REFERENCES plans (plan_id),
    subscriber_id     INTEGER REFERENCES members (member_id),
    full_name         TEXT NOT NULL,
    date_of_birth     TEXT NOT NULL,
    social_security_number TEXT UNIQUE,
    home_address      TEXT
);

CREATE TABLE member_diagnoses (
    diagnosis_id    INTEGER PRIMARY KEY,
    member_id       INTEGER NOT NULL REFERENCES members (member_id),
    diagnosis_code  TEXT NOT NULL,
    diagnosed_on    TEXT NOT NULL,
    clinical_note   TEXT
);

CREATE TABLE claims (
    claim_id          INTEGER PRIMARY KEY,
    member_id         INTEGER NOT NULL REFERENCES members (member_id),
    received_on       TEXT NOT NULL,
    status            TEXT NOT NULL,
    treating_provider TEXT NOT NULL,
    denial_reason     TEXT
);

CREATE TABLE claim_lines (
    claim_id        INTEGER NOT NULL REFERENCES claims (claim_id),
    line_number     INTEGER NOT NULL,
    diagnosis_id    INTEGER REFERENCES member_diagnoses (diagnosis_id),
    procedure_code  TEXT NOT NULL,
    billed_amount   NUMERIC NOT NULL,
    line_note       TEXT,
    PRIMARY KEY (claim_id, line_number)
);

CREATE TABLE prescriptions (
    prescription_id  INTEGER PRIMARY KEY,
    member_id        INTEGER NOT NULL REFERENCES members (member_id),
    claim_id         INTEGER,
    line_number      INTEGER,
    drug_name        TEXT NOT NULL,
    days_supplied    INTEGER NOT NULL,
    pharmacy_note    TEXT,
    FOREIGN KEY (claim_id, line_number) REFERENCES claim_lines (claim_id, line_number)
);

CREATE INDEX members_by_group ON members (group_id);
CREATE INDEX claims_by_member ON claims (member_id, received_on);

-- Rows ----------------------------------------------------------------------------------------------

INSERT INTO carriers VALUES
    (1, 'Larkspur Health',              'ZX-ROW-MARKER-CAR1', 'quotes@larkspur.example'),
    (2, 'Tidewater Mutual',             'ZX-ROW-MARKER-CAR2', 'group-sales@tidewater.example'),
    (3, 'Copperleaf Assurance',         'ZX-ROW-MARKER-CAR3', 'brokers@copperleaf.example'),
    (4, 'Northlight Health Cooperative','ZX-ROW-MARKER-CAR4', 'desk@northlight.example');

INSERT INTO plans VALUES
    (1, 1, 'Larkspur Harbor PPO',   'PPO',  2027, 'larkspur-harbor-ppo.pdf'),
    (2, 1, 'Larkspur Meadow HDHP',  'HDHP', 2027, 'larkspur-meadow-hdhp.md'),
    (3, 2, 'Tidewater Anchor HMO',  'HMO',  2027, 'tidewater-anchor-hmo.md'),
    (4, 3, 'Copperleaf Summit EPO', 'EPO',  2027, 'copperleaf-summit-epo.pdf'),
    (5, 3, 'Copperleaf Trail POS',  'POS',  2027, 'copperleaf-trail-pos.md'),
    (6, 4, 'Northlight Aurora PPO', 'PPO',  2027, 'northlight-aurora-ppo.md');

INSERT INTO employer_groups VALUES
    (1, 'Brass Lantern Bakery LLC',     38, 1,  'theo.lindgren',   'ZX-ROW-MARKER-GRP1 asks for bilingual material'),
    (2, 'Pelican Tool and Die Inc',     112, 7, 'mei.castaneda',   'ZX-ROW-MARKER-GRP2 two sites'),
    (3, 'Quarry Street Veterinary PC',  17, 4,  'ruth.abernathy',  'ZX-ROW-MARKER-GRP3'),
    (4, 'Foxglove Freight GmbH',        64, 10, 'elise.marchetti', 'ZX-ROW-MARKER-GRP4 members live in Bremen');

INSERT INTO contacts VALUES
    (1, 1, NULL, 'Odette Farnsworth-Quill', 'odette@brasslantern.example', '+1 617 555 0171', 'ZX-ROW-MARKER-CON1'),
    (2, 2, NULL, 'Barnaby Tork',            'barnaby@pelicantool.example', '+1 978 555 0112', 'ZX-ROW-MARKER-CON2'),
    (3, 4, NULL, 'Wiebke Alstermann',       'wiebke@foxglove.example',     NULL,              'ZX-ROW-MARKER-CON3'),
    (4, NULL, 1, 'Cornelius Applegarth',    'cornelius@larkspur.example',  '+1 207 555 0190', 'ZX-ROW-MARKER-CON4'),
    (5, NULL, 3, 'Imani Stavros',           'imani@copperleaf.example',    '+1 603 555 0138', 'ZX-ROW-MARKER-CON5');

INSERT INTO quotes VALUES
    (1, 1, '2026-09-14', 'sent',     'priya.raman',        'ZX-ROW-MARKER-QUO1'),
    (2, 2, '2026-10-02', 'open',     'tobias.merriweather','ZX-ROW-MARKER-QUO2'),
    (3, 3, '2026-10-20', 'declined', 'grace.kowalczyk',    'ZX-ROW-MARKER-QUO3'),
    (4, 4, '2026-11-03', 'open',     'henrik.voss',        'ZX-ROW-MARKER-QUO4');

INSERT INTO quote_lines VALUES
    (1, 1, 1, 613.20, 'ZX-ROW-MARKER-QLN1'),
    (1, 2, 6, 588.75, 'ZX-ROW-MARKER-QLN2'),
    (2, 1, 3, 471.10, 'ZX-ROW-MARKER-QLN3'),
    (2, 2, 5, 529.95, 'ZX-ROW-MARKER-QLN4'),
    (3, 1, 2, 402.35, 'ZX-ROW-MARKER-QLN5'),
    (4, 1, 4, 555.60, 'ZX-ROW-MARKER-QLN6');

INSERT INTO commissions VALUES
    (1, 1, 1, 3.25, '2026-09-15', 'ZX-ROW-MARKER-COM1'),
    (2, 1, 2, 3.10, '2026-09-15', 'ZX-ROW-MARKER-COM2'),
    (3, 2, 1, 2.80, NULL,         'ZX-ROW-MARKER-COM3');

INSERT INTO members VALUES
    (1, 1, 1, NULL, 'ZX-ROW-MARKER-MEM1 Thaddeus Crumb',  '1979-02-11', '000-12-0001', '3 Proofing Lane, Lowell MA'),
    (2, 1, 1, 1,    'ZX-ROW-MARKER-MEM2 Wilhelmina Crumb', '1981-08-30', '000-12-0002', '3 Proofing Lane, Lowell MA'),
    (3, 2, 3, NULL, 'ZX-ROW-MARKER-MEM3 Lazlo Hinge',      '1968-12-05', '000-12-0003', '41 Spindle Road, Nashua NH'),
    (4, 2, 3, NULL, 'ZX-ROW-MARKER-MEM4 Perpetua Bolt',    '1990-05-19', '000-12-0004', '8 Lathe Street, Nashua NH'),
    (5, 4, 4, NULL, 'ZX-ROW-MARKER-MEM5 Gesine Tide',      '1987-03-24', NULL,          'Deichweg 9, Bremen');

INSERT INTO member_diagnoses VALUES
    (1, 1, 'E11.9',  '2024-06-03', 'ZX-ROW-MARKER-DIA1 type two diabetes, well controlled'),
    (2, 3, 'M54.50', '2025-01-17', 'ZX-ROW-MARKER-DIA2 low back pain after lifting'),
    (3, 4, 'J45.20', '2025-09-09', 'ZX-ROW-MARKER-DIA3 mild intermittent asthma'),
    (4, 5, 'G43.909','2026-02-26', 'ZX-ROW-MARKER-DIA4 migraine without aura');

INSERT INTO claims VALUES
    (1, 1, '2026-07-01', 'paid',   'Millrace Internal Medicine', 'ZX-ROW-MARKER-CLM1'),
    (2, 3, '2026-08-12', 'denied', 'Granite Spine Clinic',       'ZX-ROW-MARKER-CLM2 no prior authorization'),
    (3, 4, '2026-09-28', 'open',   'Airway Associates',          'ZX-ROW-MARKER-CLM3');

INSERT INTO claim_lines VALUES
    (1, 1, 1,    '99213', 184.00,  'ZX-ROW-MARKER-LIN1'),
    (1, 2, 1,    '83036', 47.50,   'ZX-ROW-MARKER-LIN2'),
    (2, 1, 2,    '72148', 1290.00, 'ZX-ROW-MARKER-LIN3'),
    (3, 1, 3,    '94010', 96.25,   'ZX-ROW-MARKER-LIN4');

INSERT INTO prescriptions VALUES
    (1, 1, 1,    1,    'metformin',  90, 'ZX-ROW-MARKER-PRE1'),
    (2, 4, NULL, NULL, 'albuterol',  30, 'ZX-ROW-MARKER-PRE2'),
    (3, 5, NULL, NULL, 'sumatriptan', 9, 'ZX-ROW-MARKER-PRE3');

COMMIT;

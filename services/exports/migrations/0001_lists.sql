-- Contact lists belong to an account. A contact is in one list; what else is known of it lies in `attributes`, all text.

CREATE TABLE contact_list (
    list_id    uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    name       text NOT NULL CHECK (name <> '' AND name !~ '[[:cntrl:]]')
);

CREATE INDEX contact_list_of_account ON contact_list (account_id, name);

CREATE TABLE contact (
    contact_id uuid PRIMARY KEY,
    list_id    uuid NOT NULL REFERENCES contact_list,
    email      text NOT NULL,
    name       text NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    CHECK (NOT attributes ?| ARRAY['contact_id', 'email', 'name'])
);

-- Pages and files go by name.
CREATE INDEX contact_of_list ON contact (list_id, name, contact_id);

-- A page of contacts that a user read: contacts read by the page are contacts exported without a code.
CREATE TABLE page_read (
    user_id uuid NOT NULL,
    read_at timestamptz NOT NULL
);

CREATE INDEX page_read_by_user ON page_read (user_id, read_at);
CREATE INDEX page_read_old ON page_read (read_at);

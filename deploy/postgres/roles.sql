-- One role and one schema per service, named alike. Run as superuser in the database `countersign`; running it again
-- changes nothing. Passwords are set elsewhere. Views across schemas are made and granted by their owners' migrations.
DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['enrolment', 'risk_evaluator', 'verifier', 'notifier', 'exports', 'gateway']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', service);
        END IF;
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', service, service);
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', service, current_database(), service);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), service);
    END LOOP;
    -- Of the command line, for people on call. It has no schema; each service's migrations give it what it needs.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'operator') THEN
        CREATE ROLE operator LOGIN;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO operator', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- Nobody makes or finds anything outside the schemas above.
REVOKE ALL ON SCHEMA public FROM PUBLIC;

//! Names of users, found at management (WHOIS).

use std::collections::HashMap;

use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::Caller;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

type Found = Result<HashMap<String, Caller>, Fail>;
type Then = Box<dyn FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Found) + Send>;

/// Names that are being looked for; the requests that name them bound them.
#[derive(Default)]
pub struct Names {
    open: HashMap<u64, Search>,
    next: u64,
}

struct Search {
    left: usize,
    found: HashMap<String, Caller>,
    then: Then,
}

/// Finds users; `then` gets them by their folded names, or the first FAIL: NOTFOUND, UNAVAILABLE.
pub fn find(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    names: Vec<String>,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Found) + Send + 'static,
) {
    let Some(link) = dm.uplink.link() else {
        return ctx.after(0, |dm, ctx| {
            then(dm, ctx, Err(Fail::new(Code::Unavailable, "management is not reachable; retry later")));
        });
    };
    dm.names.next += 1;
    let id = dm.names.next;
    let search = Search { left: names.len(), found: HashMap::new(), then: Box::new(then) };
    dm.names.open.insert(id, search);
    for wanted in names {
        let text = wanted.clone();
        ctx.request(link, "WHOIS", &[text.as_bytes()], move |dm, ctx, answer| {
            let one = answer
                .and_then(|answer| answer.take::<2>())
                .and_then(|[account, name]| Ok(Caller { account: account.number()?, name: name.text()?.into_owned() }));
            let Some(search) = dm.names.open.get_mut(&id) else { return };
            search.left -= 1;
            let result = match one {
                Ok(caller) => {
                    search.found.insert(name::fold(&wanted).into_owned(), caller);
                    if search.left > 0 {
                        return;
                    }
                    Ok(())
                }
                Err(fail) if fail.code == Code::NotFound => {
                    Err(Fail::new(Code::NotFound, format!("there is no user {wanted}")))
                }
                Err(fail) => Err(fail),
            };
            if let Some(Search { found, then, .. }) = dm.names.open.remove(&id) {
                then(dm, ctx, result.map(|()| found));
            }
        });
    }
}
